"""What another write policy would mean for a cell, before it gets it. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

from regions.timetable import parse
from regions.topology import CellSpec, WritePolicy


@dataclass(frozen=True, slots=True)
class Change:
    """Who writes now and who would then. `dark`: what the cell's law leaves it without; `refused`:
    why it can't be done now."""

    cell: str
    was: str
    policy: str
    writers: tuple[str, ...]
    then: tuple[str, ...]
    reason: str
    dark: str | None = None
    refused: str | None = None


def preview_policy(
    spec: CellSpec,
    writer: str | None,
    policy: WritePolicy,
    timetable: str,
    *,
    up: Collection[str],
    now: datetime,
) -> Change:
    """`writer`: who holds the lease; None: nobody does, or every region writes. `timetable` is one
    that was checked."""
    then, reason = _then(spec, writer, policy, timetable, now)
    change = Change(
        spec.name,
        spec.policy.value,
        policy.value,
        tuple(spec.regions) if not spec.policy.leased else tuple(filter(None, [writer])),
        then,
        reason,
    )
    if len(spec.regions) == 1:
        only = f"{spec.regions[0]} is the only region that its tenants' law allows"
        change = replace(change, dark=f"{only}: it is dark while that is lost, by any policy.")
    silent = [region for region in spec.regions if region not in up]
    if silent and spec.policy.leased is not policy.leased:
        change = replace(
            change, refused=f"{', '.join(silent)} would go on by the old policy: bring it back."
        )
    return change


def _then(
    spec: CellSpec, writer: str | None, policy: WritePolicy, timetable: str, now: datetime
) -> tuple[tuple[str, ...], str]:
    if not policy.leased:
        return tuple(spec.regions), "Every region writes; concurrent edits are merged."
    if policy is WritePolicy.FOLLOW_THE_SUN:
        turn = parse(timetable).at(now)
        return (turn.region,), turn.reason
    if spec.policy.leased and writer is not None:
        return (writer,), f"{writer} goes on writing."
    return (spec.regions[0],), f"{spec.regions[0]}, its home, has the first try for the lease."
