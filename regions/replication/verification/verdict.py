"""What a comparison of replicas came to, as a document. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from regions.replication.verification.judging import Version, differing, newest


@dataclass(frozen=True, slots=True)
class Difference:
    """A row, or a whole table (`key` is None), that is not the same everywhere. `regions` has the
    beginning of each region's digest, or None where there is nothing. No value is in it but the
    key's."""

    table: str
    tenant: UUID | None
    key: Mapping[str, str] | None
    regions: Mapping[str, str | None]
    reason: str
    fields: tuple[str, ...] = ()
    repaired: bool = False

    def document(self) -> dict[str, Any]:
        return {
            "table": self.table,
            "tenant": str(self.tenant) if self.tenant else None,
            "key": dict(self.key) if self.key is not None else None,
            "regions": dict(self.regions),
            "fields": list(self.fields),
            "reason": self.reason,
            "repaired": self.repaired,
        }


@dataclass
class Verdict:
    """The outcome of one run. `rows`: of the region that has most of each tenant's; `in_flight`:
    rows that were written at every look, so that nothing can be said about them."""

    cell: str
    regions: tuple[str, ...]
    unreachable: tuple[str, ...] = ()
    tables: int = 0
    rows: int = 0
    tenants: set[UUID] = field(default_factory=set)
    found: int = 0
    repaired: int = 0
    in_flight: int = 0
    seconds: float = 0.0
    differences: list[Difference] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether every region took part and has the same."""
        return not self.unreachable and self.found == self.repaired

    @property
    def refusal(self) -> str | None:
        """Why that is no success, in one line; None if it is one."""
        if left := self.found - self.repaired:
            tables = sum(one.key is None for one in self.differences)
            parts = (_counted(tables, "table"), _counted(left - tables, "row"))
            which = " and ".join(filter(None, parts))
            differ = "differs" if left == 1 else "differ"
            return f"{self.cell}: {which} {differ} between {', '.join(self.regions)}"
        if self.unreachable:
            return (
                f"{self.cell}: {', '.join(self.unreachable)} did not answer; only"
                f" {', '.join(self.regions)} were compared, and are equal"
            )
        return None

    def document(self) -> dict[str, Any]:
        return {
            "cell": self.cell,
            "equal": self.equal,
            "regions": list(self.regions),
            "unreachable": list(self.unreachable),
            "tables": self.tables,
            "tenants": len(self.tenants),
            "rows": self.rows,
            "differing_rows": self.found,
            "repaired_rows": self.repaired,
            "in_flight_rows": self.in_flight,
            "seconds": round(self.seconds, 3),
            "differences": [one.document() for one in self.differences],
        }


def _counted(number: int, what: str) -> str:
    if number == 1:
        return f"one {what}"
    return f"{number} {what}s" if number else ""


def describe(versions: Mapping[str, Version]) -> tuple[str, tuple[str, ...]]:
    """What is wrong with a row, in a sentence, and the fields that differ."""
    parked = [region for region, version in versions.items() if version.parked]
    if parked:
        return f"a change of it is a dead letter in {', '.join(parked)}", ()
    there = {region: v.state for region, v in versions.items() if v.state is not None}
    absent = [region for region in versions if region not in there]
    dead = max((v.dead for v in versions.values() if v.dead is not None), default=-1)
    if not there:
        lacking = [region for region, v in versions.items() if (v.dead or -1) < dead]
        if lacking:
            return f"that it was deleted is not known in {', '.join(lacking)}", ()
        return "it is gone by now", ()
    if not absent:
        first, *others = there.values()
        fields = sorted({name for other in others for name in differing(first, other)})
        return f"differs in {', '.join(fields)}" if fields else "it is equal by now", (*fields,)
    if dead >= max(newest(state) for state in there.values() if state is not None):
        return f"deleted, and still there in {', '.join(there)}", ()
    return f"missing in {', '.join(absent)}", ()
