"""What may be chosen at onboarding, and why the rest may not. Pure.

Every region of the deployment gets the decision of `regions.residency` with its rule and its
sentence; a cell is lawful only when all of its regions are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from regions.deployment import RegionSite
from regions.residency import Decision, Destination, Operation, ResidencyPolicy, decide
from regions.topology import CellSpec, TenancyMode

MODES: tuple[tuple[str, str, str], ...] = (
    (
        TenancyMode.SHARED.value,
        "Shared",
        "Many customers in the same tables, kept apart by row-level security in PostgreSQL. "
        "Ready in seconds, cheapest to run; best for trials and small accounts.",
    ),
    (
        TenancyMode.SCHEMA.value,
        "Schema",
        "A schema of its own in a database that is shared. Its tables can be inspected, "
        "measured and restored on their own; best for the middle of the market.",
    ),
    (
        TenancyMode.DEDICATED.value,
        "Dedicated",
        "A database of its own, with its own regions and write policy. The strongest "
        "isolation and the dearest; best for enterprises and regulated customers.",
    ),
)

POLICIES: tuple[tuple[str, str, str], ...] = (
    (
        "active_passive",
        "Active-passive",
        "One region writes, the others follow and take over when it is lost.",
    ),
    (
        "active_active",
        "Active-active",
        "Every region writes; concurrent edits are merged and nothing is dropped in silence.",
    ),
    (
        "follow_the_sun",
        "Follow the sun",
        "One region writes at a time, and hands over by a timetable.",
    ),
)


@dataclass(frozen=True, slots=True)
class RegionVerdict:
    """May this tenant's data be in this region?"""

    region: str
    country: str
    jurisdiction: str
    decision: Decision

    @property
    def lawful(self) -> bool:
        return self.decision.allowed


def verdicts(
    policy: ResidencyPolicy, sites: Iterable[RegionSite], at: datetime
) -> tuple[RegionVerdict, ...]:
    """The decision on placing the tenant in each region, lawful ones first."""
    decided = [
        RegionVerdict(
            site.name,
            site.country,
            site.jurisdiction,
            decide(policy, Operation.PLACE, Destination.of(site), at=at),
        )
        for site in sites
    ]
    return tuple(sorted(decided, key=lambda verdict: not verdict.lawful))


def lawful_cells(
    cells: Iterable[CellSpec],
    judged: Sequence[RegionVerdict],
    *,
    mode: str,
    taken: Mapping[str, int],
) -> tuple[CellSpec, ...]:
    """Existing cells that could take the tenant: right mode, all regions lawful, not occupied."""
    lawful = {verdict.region for verdict in judged if verdict.lawful}
    return tuple(
        cell
        for cell in cells
        if cell.mode.value == mode
        and set(cell.regions) <= lawful
        and not (cell.mode is TenancyMode.DEDICATED and taken.get(cell.name))
    )


def policy_choices(sites: Iterable[RegionSite]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Residency policies that make sense here, grouped, the bodies of law first."""
    sites = tuple(sites)
    laws = list(dict.fromkeys(site.jurisdiction for site in sites))
    countries = list(dict.fromkeys(site.country for site in sites))
    return [
        ("Inside one jurisdiction", [(law, f"{law}: stays under {law} law") for law in laws]),
        (
            "Inside one country",
            [
                (country, f"{country}: stays in {country}")
                for country in countries
                if country not in laws
            ],
        ),
        (
            "Wider",
            [
                *(
                    (f"{law}:ADEQUATE", f"{law}:ADEQUATE: also where {law} finds it adequate")
                    for law in laws
                    if law != "US"
                ),
                ("UNRESTRICTED", "UNRESTRICTED: anywhere (no personal data)"),
            ],
        ),
    ]
