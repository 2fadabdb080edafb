"""Which spares a pool keeps, which it gives up, and how many it lacks. Pure.

A spare of an earlier epoch of the control cell's lease may have been given away by a writer that
was lost before it could say so. Guarantees that no such spare is given away again, or removed,
until every region was heard since.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from regions.topology import TenancyMode, WritePolicy

# As far as regions' clocks may differ.
SKEW = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Pool:
    """Spares of one kind: schemas of `cell`, or (None) dedicated cells in these regions."""

    mode: TenancyMode
    cell: str | None
    regions: tuple[str, ...]
    policy: WritePolicy
    wanted: int

    @property
    def key(self) -> str:
        """`schema:eu-schema`, or `dedicated:eu-west,eu-central:active_passive`."""
        if self.cell is not None:
            return schema_pool(self.cell)
        return dedicated_pool(self.regions, self.policy)


def schema_pool(cell: str) -> str:
    return f"{TenancyMode.SCHEMA}:{cell}"


def dedicated_pool(regions: Sequence[str], policy: WritePolicy) -> str:
    return f"{TenancyMode.DEDICATED}:{','.join(regions)}:{policy}"


class Action(StrEnum):
    KEEP = "keep"  # it can be taken
    DOUBT = "doubt"  # it can't, until every region was heard
    WAIT = "wait"  # the same, and they were not yet
    TRUST = "trust"  # nobody has given it away
    DISCARD = "discard"  # it can never be taken


@dataclass(frozen=True, slots=True)
class Verdict:
    action: Action
    reason: str


@dataclass(frozen=True, slots=True)
class SpareFacts:
    """A row, as far as it matters here."""

    id: UUID
    state: str
    error: str
    fingerprint: str
    epoch: int
    doubted_at: datetime | None


@dataclass(frozen=True, slots=True)
class Now:
    """`heard`: what every other region had written until then has arrived (None: unknown)."""

    fingerprint: str
    epoch: int
    heard: datetime | None


def judge(spare: SpareFacts, now: Now, *, kept: bool) -> Verdict:
    """What becomes of a spare that nobody is making. `kept`: whether its pool is."""
    if spare.epoch != now.epoch:
        if spare.doubted_at is None:
            return Verdict(Action.DOUBT, "The control cell's writer has changed since.")
        if now.heard is None or now.heard < spare.doubted_at + SKEW:
            return Verdict(Action.WAIT, "A region was not heard since the writer changed.")
        return Verdict(Action.TRUST, "Every region was heard: nobody has taken it.")
    if spare.state == "making":
        return Verdict(Action.DISCARD, "Whoever made it was stopped.")
    if spare.state == "broken":
        return Verdict(Action.DISCARD, f"It could not be made: {spare.error}")
    if not kept:
        return Verdict(Action.DISCARD, "No pool is kept there any more.")
    if spare.fingerprint != now.fingerprint:
        return Verdict(Action.DISCARD, "The tables are made in another way by now.")
    return Verdict(Action.KEEP, "It is ready.")


def lacking(pool: Pool, verdicts: Iterable[Verdict]) -> int:
    """How many have to be made."""
    ready = sum(verdict.action in (Action.KEEP, Action.TRUST) for verdict in verdicts)
    return max(0, pool.wanted - ready)
