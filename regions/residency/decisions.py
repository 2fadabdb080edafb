"""`decide`: may this operation happen there, under this policy, at this time?

Pure and total: no network, no clock, the same arguments give the same answer. A refusal by any
layer is final (deny overrides), and whatever cannot be decided is refused (G01).
"""

from __future__ import annotations

from datetime import UTC, date, datetime

from regions.errors import ResidencyDataError, ResidencyDenied
from regions.residency import dataset
from regions.residency.dataset import DataSet
from regions.residency.grounds import Ground, floor, law_of_home, transfer
from regions.residency.model import (
    Decision,
    Destination,
    Mode,
    Operation,
    ResidencyPolicy,
    Verdict,
)
from regions.residency.rules import OPERATION_RULES

UNDECIDABLE = (ResidencyDataError, LookupError, ValueError, TypeError, AttributeError, OSError)


def decide(
    policy: ResidencyPolicy,
    operation: Operation,
    destination: Destination,
    *,
    at: date | datetime,
    via: Destination | None = None,
    data: DataSet | None = None,
) -> Decision:
    """The answer, with its rules, one sentence and references. Never raises.

    `via` is a third place that the data would pass on its way: the onward transfer from there
    needs a basis of its own (G09). `data` replaces the package's facts (what-if questions).
    """
    version = "unknown"
    try:
        facts = data or dataset.current()
        version = facts.version
        rules = OPERATION_RULES[operation]
        ground = _judge(policy, operation, destination, _day(at), via, facts)
    except UNDECIDABLE as error:
        return Decision(
            verdict=Verdict.DENY,
            rules=(*OPERATION_RULES.get(operation, ()), "G01"),
            reason=f"Residency could not be decided, so the answer is no: {error}.",
            references=(),
            data_version=version,
        )
    if not ground.lawful:
        verdict = Verdict.DENY
    elif ground.audit or operation is Operation.SUPPORT:
        verdict = Verdict.ALLOW_WITH_AUDIT
    else:
        verdict = Verdict.ALLOW
    return Decision(
        verdict=verdict,
        rules=(*rules, *(rule for rule in ground.rules if rule not in rules)),
        reason=f"{_subject(policy, operation, destination, verdict)}: {ground.because}.",
        references=ground.references,
        data_version=version,
    )


def require(
    policy: ResidencyPolicy,
    operation: Operation,
    destination: Destination,
    *,
    at: date | datetime,
    via: Destination | None = None,
) -> Decision:
    """The decision, if it allows. Raises ResidencyDenied: rule ids, then the sentence."""
    decision = decide(policy, operation, destination, at=at, via=via)
    if not decision.allowed:
        raise ResidencyDenied(denial(decision), decision)
    return decision


def denial(decision: Decision) -> str:
    """One line for people: the rule ids and the sentence."""
    return f"[{', '.join(decision.rules)}] {decision.reason}"


def _judge(
    policy: ResidencyPolicy,
    operation: Operation,
    destination: Destination,
    day: date,
    via: Destination | None,
    data: DataSet,
) -> Ground:
    country = data.country(destination.country)
    if country is None:
        return Ground(False, f"{destination.country!r} is not an assigned country code", ("G02",))
    if data.law(destination.jurisdiction) not in data.laws_ever(country):
        expected = data.law_of(country, day)
        return Ground(
            False,
            f"it declares the jurisdiction {destination.jurisdiction!r}, but {country} is under "
            f"{expected} law",
            ("D09",),
        )
    base = _mode(policy, destination, country, day, data)
    grounds = [base, floor(policy.home, operation, country, day, data)]
    if via is not None and base.lawful and policy.mode is not Mode.UNRESTRICTED:
        grounds.append(_onward(via, destination, country, day, data))
    denied = next((ground for ground in grounds if not ground.lawful), None)
    if denied is not None:
        return denied
    return next((ground for ground in grounds if ground.audit), base)


def _mode(
    policy: ResidencyPolicy, destination: Destination, country: str, day: date, data: DataSet
) -> Ground:
    """What the tenant's own mode says."""
    if policy.mode is Mode.UNRESTRICTED:
        return Ground(True, "the policy restricts no place")
    if country == policy.home:
        return Ground(True, f"it is in {country}, the policy's home")
    if policy.mode is Mode.STRICT_IN_COUNTRY:
        return Ground(False, f"{country} is not {policy.home}, and the data stays in {policy.home}")
    home_law, law = law_of_home(policy.home, day, data), data.law_of(country, day)
    if law == home_law:
        return Ground(True, f"{country} is under {law} law", _territory(country, law, data))
    if policy.mode is Mode.STRICT_JURISDICTION:
        return Ground(
            False,
            f"{country} is under {law} law, and the data stays under {home_law} law",
            references=_references(home_law, data),
        )
    return transfer(policy, destination, country, home_law, day, data)


def _onward(
    via: Destination, destination: Destination, country: str, day: date, data: DataSet
) -> Ground:
    """The second leg, under the law of the place in between."""
    middle = data.country(via.country)
    if middle is None:
        return Ground(False, f"{via.country!r} is not an assigned country code", ("G02", "G09"))
    law = data.law_of(middle, day)
    if country == middle or data.law_of(country, day) == law:
        return Ground(True, f"{middle} and {country} are under {law} law", ("G09",))
    leg = transfer(
        ResidencyPolicy(Mode.SAFEGUARDED, middle, middle), destination, country, law, day, data
    )
    return Ground(
        leg.lawful,
        f"onward from {middle}, {leg.because}",
        (*leg.rules, "G09"),
        leg.references,
        audit=leg.audit,
    )


def _day(at: date | datetime) -> date:
    """The day in UTC. A time without a zone could be either of two days: it is refused."""
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise ValueError("the time of the decision has no time zone")
        return at.astimezone(UTC).date()
    return at


def _subject(
    policy: ResidencyPolicy, operation: Operation, destination: Destination, verdict: Verdict
) -> str:
    may = "must not be used" if verdict is Verdict.DENY else "may be used"
    return (
        f"Region {destination.region} ({destination.country}) {may} to {operation} data of a "
        f"tenant with the policy {policy}"
    )


def _territory(country: str, law: str, data: DataSet) -> tuple[str, ...]:
    """G03 applies where a place has its own code and another's law without being a member."""
    return ("G03",) if country in data.territories and law in data.bodies else ()


def _references(law: str, data: DataSet) -> tuple[str, ...]:
    return (data.exporters[law],) if law in data.exporters else ()
