"""May this region write to this cell now? Pure: the same answer for the same map.

Guarantees that no two regions with the same view of the lease both get ALLOW for a cell with
one writer. Regions with different views are the database's to fence, not this module's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from regions.topology import CellSpec, Lease


class Action(StrEnum):
    ALLOW = "allow"
    HAND_OFF = "hand_off"
    UNAVAILABLE = "unavailable"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Decision:
    """`writer` is the region that may write, where one is known."""

    action: Action
    reason: str
    writer: str | None = None


def decide(cell: CellSpec, lease: Lease | None, region: str) -> Decision:
    """Whether `region` writes to `cell` itself, hands the request to the writer, or neither."""
    if region not in cell.regions:
        return Decision(
            Action.REFUSE,
            f"Cell {cell.name} has no replica in {region}: it is in {', '.join(cell.regions)}.",
        )
    if not cell.policy.leased:
        return Decision(Action.ALLOW, f"Every region of {cell.name} writes.", region)
    if lease is None:
        return Decision(
            Action.UNAVAILABLE,
            f"No region holds the lease of cell {cell.name} now; a writer is being chosen.",
        )
    if lease.writer == region:
        return Decision(
            Action.ALLOW, f"{region} holds the lease of {cell.name}, epoch {lease.epoch}.", region
        )
    if lease.writer not in cell.regions:
        return Decision(
            Action.UNAVAILABLE,
            f"The last known writer of cell {cell.name}, {lease.writer}, has no replica of it.",
        )
    return Decision(
        Action.HAND_OFF, f"Cell {cell.name} is written in {lease.writer}.", lease.writer
    )
