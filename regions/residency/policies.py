"""Policies as text: `EU`, `DE`, `EU:ADEQUATE`, `UNRESTRICTED`; `str(policy)` reads back the same.

`HOME[:MODE]`. A home is a country (its default mode: stay in the country) or a body of law that
spans several (its default mode: stay under that law).
"""

from __future__ import annotations

from functools import lru_cache

from regions.errors import InvalidPolicy
from regions.residency import dataset
from regions.residency.model import Mode, ResidencyPolicy

SUFFIXES = {
    "COUNTRY": Mode.STRICT_IN_COUNTRY,
    "JURISDICTION": Mode.STRICT_JURISDICTION,
    "ADEQUATE": Mode.ADEQUATE,
    "SAFEGUARDED": Mode.SAFEGUARDED,
    "UNRESTRICTED": Mode.UNRESTRICTED,
}
EXAMPLES = "EU, DE, DE:JURISDICTION, EU:ADEQUATE, US or UNRESTRICTED"


@lru_cache(maxsize=1024)
def parse_policy(text: str) -> ResidencyPolicy:
    """The policy that a text names. Raises InvalidPolicy with what could be written instead."""
    head, colon, suffix = text.strip().upper().partition(":")
    if head == "UNRESTRICTED" and not colon:
        return ResidencyPolicy(Mode.UNRESTRICTED, "", "UNRESTRICTED")
    data = dataset.current()
    law = data.law(head)
    country = data.country(head)
    if country is None and law not in data.bodies:
        raise InvalidPolicy(
            f"{text!r} is no residency policy: {head!r} is neither a country (ISO 3166-1, two "
            f"letters) nor a jurisdiction ({', '.join(data.bodies)}). Write e.g. {EXAMPLES}."
        )
    if colon and suffix not in SUFFIXES:
        raise InvalidPolicy(
            f"{text!r} is no residency policy: the mode after the colon is one of "
            f"{', '.join(SUFFIXES)}."
        )
    home = country or law
    natural = Mode.STRICT_IN_COUNTRY if country else Mode.STRICT_JURISDICTION
    mode = SUFFIXES[suffix] if colon else natural
    if mode is Mode.STRICT_IN_COUNTRY and country is None:
        raise InvalidPolicy(f"{text!r}: {home} is not one country; name the country, e.g. DE.")
    if mode in (Mode.ADEQUATE, Mode.SAFEGUARDED) and not _may_export(home, data):
        raise InvalidPolicy(
            f"{text!r}: no adequacy decisions are known for data from {home}; they are for "
            f"{', '.join(data.exporters)}. Use {home} or {home}:UNRESTRICTED."
        )
    if mode is natural:
        return ResidencyPolicy(mode, home, home)
    label = next(name for name, value in SUFFIXES.items() if value is mode)
    return ResidencyPolicy(mode, home, f"{home}:{label}")


def default_policy(country: str) -> str:
    """What a tenant gets that chose nothing: one body of law, its home's.

    A country under a law of its own stays at home, and so does one with a localisation law.
    """
    data = dataset.current()
    code = data.country(country)
    if code is None:
        raise InvalidPolicy(f"{country!r} is not a country (ISO 3166-1, two letters).")
    governing = data.laws.get(code, ())
    law = next((law for law, period in governing if period.end is None), code)
    localised = any(
        regime.strength in ("HARD", "HARD_COPY") and regime.period.end is None
        for regime in data.regimes
        if regime.country == code
    )
    return law if law in data.bodies and not localised else code


def _may_export(home: str, data: dataset.DataSet) -> bool:
    laws = {home} if home in data.bodies else data.laws_ever(home)
    return bool(laws & data.exporters.keys())
