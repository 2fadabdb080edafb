"""The nouns of a residency decision: frozen values, no behaviour beyond reading themselves."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Protocol


class Mode(StrEnum):
    """How far a tenant's data may go, strictest first."""

    STRICT_IN_COUNTRY = "strict_in_country"
    STRICT_JURISDICTION = "strict_jurisdiction"
    ADEQUATE = "adequate"
    SAFEGUARDED = "safeguarded"
    UNRESTRICTED = "unrestricted"


class Operation(StrEnum):
    """What would put tenant data into a place, or show it there."""

    PLACE = "place"
    MOVE = "move"
    REPLICATE = "replicate"
    FAILOVER = "failover"
    ROUTE = "route"
    TASK = "task"
    CACHE = "cache"
    STORE = "store"
    LOG = "log"
    BACKUP = "backup"
    EXPORT = "export"
    SUPPORT = "support"


class Verdict(StrEnum):
    """The answer. REDIRECT: not here, but `Decision.redirect_to` may. DENY_UNAVAILABLE: lawful
    places exist and none of them is up; nobody else may take over (B06)."""

    ALLOW = "allow"
    ALLOW_WITH_AUDIT = "allow_with_audit"
    REDIRECT = "redirect"
    DENY = "deny"
    DENY_UNAVAILABLE = "deny_unavailable"


@dataclass(frozen=True, slots=True)
class ResidencyPolicy:
    """A mode and the home that it is measured from: a country, a body of law, or (only when
    unrestricted) nothing. `str()` gives the text that `parse_policy` reads."""

    mode: Mode
    home: str
    text: str

    def __str__(self) -> str:
        return self.text


class Place(Protocol):
    """What a region's site and its registry row have in common."""

    @property
    def name(self) -> str: ...
    @property
    def country(self) -> str: ...
    @property
    def jurisdiction(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the data would be. `jurisdiction` is what the operator declared; a declaration that
    contradicts the country is refused (D09).

    `certified` holds the certifications of whoever runs it ("DPF", "PIPEDA" …), `safeguards` the
    references of a transfer contract and its assessment ("SCC:…", "TIA:…").
    """

    region: str
    country: str
    jurisdiction: str
    certified: frozenset[str] = frozenset()
    safeguards: frozenset[str] = frozenset()

    @classmethod
    def of(cls, place: Any) -> Destination:
        """The destination that a region (its site or its registry row) is."""
        site: Place = place
        return cls(region=site.name, country=site.country, jurisdiction=site.jurisdiction)


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer with its grounds: rule ids, one sentence, legal references, the data's version."""

    verdict: Verdict
    rules: tuple[str, ...]
    reason: str
    references: tuple[str, ...]
    data_version: str
    redirect_to: str | None = None

    @property
    def allowed(self) -> bool:
        return self.verdict in (Verdict.ALLOW, Verdict.ALLOW_WITH_AUDIT)

    def as_document(self) -> dict[str, Any]:
        """The decision as JSON values, with `allowed` spelled out."""
        return {**asdict(self), "verdict": self.verdict.value, "allowed": self.allowed}
