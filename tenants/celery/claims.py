"""May a worker begin the task that a message tells of? Pure.

Guarantees that of two messages about one task only one leads to a run, that what was left under an
earlier lease or by a lost worker is run again, and that a task which takes its workers with it is
not given to one after the other for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# So many began it and never said how it ended: then it is parked, for an operator to see.
MOST_LOST = 5


class Action(StrEnum):
    BEGIN = "begin"
    DROP = "drop"  # the message; the task is done, or somebody does it
    PARK = "park"


@dataclass(frozen=True, slots=True)
class Seen:
    """The task's row. `claimed_for`: how long a worker has had it, in seconds; None: none has.
    `letter`: the message that it had it from. `region`, `epoch`: whose it is, under which lease.
    `here_epoch`: of the newest lease that this region knows of; `leased`: whether there is any."""

    claims: int
    lost: int
    claimed_for: float | None
    letter: str | None
    region: str
    epoch: int
    here: str
    here_epoch: int
    leased: bool


@dataclass(frozen=True, slots=True)
class Decision:
    action: Action
    reason: str


def decide(seen: Seen | None, *, back: str | None, patience: float) -> Decision:
    """`back`: the message, if the broker says that whoever it was given to before has it no more.
    `patience`: how long a worker may take; in seconds."""
    if seen is None:
        return Decision(Action.DROP, "it has ended, or was never committed")
    if not seen.leased and seen.region != seen.here:
        return Decision(Action.DROP, f"{seen.region} does it")
    if seen.leased and seen.epoch > seen.here_epoch:
        return Decision(Action.DROP, f"{seen.region} has it, under a later lease")
    if seen.claimed_for is None:
        return _begin(seen, "nobody has begun it")
    if seen.leased and seen.epoch < seen.here_epoch:
        return _begin(seen, f"it was begun in {seen.region}, under a lease that has ended")
    if back is not None and back == seen.letter:
        return _begin(seen, "its worker has it no more")
    if seen.claimed_for > patience:
        return _begin(seen, "its worker has had it for too long")
    return Decision(Action.DROP, "a worker does it")


def _begin(seen: Seen, reason: str) -> Decision:
    lost = seen.lost + (seen.claimed_for is not None)
    if lost >= MOST_LOST:
        return Decision(Action.PARK, f"{lost} workers began it, and none said how it ended")
    return Decision(Action.BEGIN, reason)
