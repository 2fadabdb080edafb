"""What one region's agent should do about one cell's lease. Pure: sight in, decision out.

The rule that keeps two writers apart is not here (the acceptors and the gate keep it); here is
who tries, when, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from regions.timetable import Turn
from regions.topology import CellSpec, WritePolicy

PREFERENCE_SECONDS = 0.4  # how long each more preferred region has the first try, at least …
PREFERENCE_TRIPS = 3.0  # … and in round trips: to look, to prepare, to propose
MOST_DOUBLINGS = 3
ASIDE_SECONDS = 10.0  # how long a region that stands aside leaves an open lease to the others


class Action(StrEnum):
    WAIT = "wait"
    HOLD = "hold"
    ACQUIRE = "acquire"
    HAND_OVER = "hand over"
    STEP_DOWN = "step down"
    RESEED = "reseed"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and the sentence that says why; `target`: whom a hand-over is for."""

    action: Action
    reason: str
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """What the agent of `region` sees of `cell` now. Times in seconds.

    `open_for`: for how long a majority has said that nobody holds the lease (None: somebody does,
    or no majority). `trip`: how long the acceptors' majority takes to answer. `resting`: how long
    this region still lets others try, after a try that came to nothing. `turn`: who should write
    by the cell's timetable. `gained`: when this region got the lease from another (None: it had
    it before). `patient`: a hand-over by the timetable has just failed. `aside`: regions that are
    being worked on. `reached`: where clients are answered. `shaky`: the database here took no
    writes lately.
    """

    cell: CellSpec
    region: str
    writable: bool
    held: bool = False
    holder: str | None = None
    open_for: float | None = None
    trip: float = 0.0
    resting: float = 0.0
    quorum: bool = True
    successor: str | None = None
    turn: Turn | None = None
    gained: datetime | None = None
    patient: bool = False
    aside: frozenset[str] = frozenset()
    reached: frozenset[str] = frozenset()
    shaky: bool = False
    hand_over_to: str | None = None
    asked_to_take: bool = False


def rest(tries: int, took: float, chance: float) -> float:
    """How long to let others try after `tries` in a row came to nothing, the last in `took`
    seconds; `chance` is between 0 and 1. Who tries at once, or after the same time as the others,
    would spoil their try with a higher ballot, and they the next one of his."""
    return chance * max(took, 0.1) * 2.0 ** min(tries, MOST_DOUBLINGS)


def unsettled(
    cells: Iterable[CellSpec],
    *,
    held: Container[str],
    writable: Callable[[str], bool],
    vacant: Callable[[str], bool],
    asked: Container[str],
    cut_off: bool,
) -> list[CellSpec]:
    """The cells about which `decide` may say something else than WAIT or HOLD, which need no act:
    seldom any. So a thousand cells are looked at for little more than the price of one.

    `vacant`: the lease may be open; `cut_off`: no client is known to be answered in this region.
    """
    by_timetable = WritePolicy.FOLLOW_THE_SUN
    found = []
    for spec in cells:
        name = spec.name
        if name not in held:
            if not vacant(name):
                continue
        elif not (cut_off or name in asked or spec.policy is by_timetable) and writable(name):
            continue
        found.append(spec)
    return found


def decide(sight: Sight) -> Decision:
    """The next step for this cell."""
    if not sight.cell.policy.leased:
        return Decision(Action.WAIT, "Every region writes this cell: there is no lease.")
    if sight.region not in sight.cell.regions:
        return Decision(Action.WAIT, f"Cell {sight.cell.name} has no replica in {sight.region}.")
    return _as_holder(sight) if sight.held else _as_candidate(sight)


def _as_holder(sight: Sight) -> Decision:
    target = sight.hand_over_to
    if not sight.writable:
        return Decision(
            Action.STEP_DOWN,
            f"Cell {sight.cell.name} cannot be written in {sight.region} any more.",
        )
    if target is not None and target in sight.cell.regions and target != sight.region:
        reason = f"Asked to hand {sight.cell.name} over to {target}."
        return Decision(Action.HAND_OVER, reason, target)
    better = _where_clients_are_answered(sight)
    if better is not None and not sight.patient:
        reason = f"Clients get no answer in {sight.region}, and get one in {better}."
        return Decision(Action.HAND_OVER, reason, better)
    if sight.turn is not None and not sight.patient and _is_over(sight, sight.turn):
        return Decision(Action.HAND_OVER, sight.turn.reason, sight.turn.region)
    return Decision(Action.HOLD, f"This region holds {sight.cell.name}.")


def _is_over(sight: Sight, turn: Turn) -> bool:
    """Whether it is another region's turn, also if its beginning was missed. Who got the lease
    during that turn keeps it until the next: an operator wanted it so, or the region was lost."""
    if turn.region == sight.region or turn.region not in sight.cell.regions:
        return False
    if turn.region in sight.aside or _is_given_up(sight, turn.region):
        return False
    return sight.gained is None or sight.gained < turn.since


def _where_clients_are_answered(sight: Sight) -> str | None:
    """The preferred region of the cell where they are, if they are not here."""
    others = (name for name in sight.cell.regions if name in sight.reached - sight.aside)
    return next(others, None) if sight.region not in sight.reached else None


def _is_given_up(sight: Sight, region: str) -> bool:
    """Whether clients are answered in another region of the cell, and not in this one."""
    return region not in sight.reached and not sight.reached.isdisjoint(sight.cell.regions)


def _as_candidate(sight: Sight) -> Decision:
    name = sight.cell.name
    if not sight.quorum:
        return Decision(Action.WAIT, "No majority of the lease's acceptors answers.")
    if sight.open_for is None:
        return Decision(
            Action.WAIT, f"The lease on {name} is with {sight.holder or 'another region'}."
        )
    if not sight.writable:
        return Decision(Action.WAIT, f"Cell {name} cannot be written in {sight.region}.")
    if sight.successor not in (None, sight.region):
        return Decision(Action.WAIT, f"Cell {name} is reserved for {sight.successor}.")
    if sight.resting > 0:
        return Decision(Action.WAIT, f"Others may try for {name}: a try has come to nothing.")
    if sight.successor == sight.region:
        return Decision(Action.ACQUIRE, f"Cell {name} was handed over to {sight.region}.")
    if sight.asked_to_take:
        return Decision(Action.ACQUIRE, f"An operator asked {sight.region} to take {name}.")
    wait = max(PREFERENCE_SECONDS, PREFERENCE_TRIPS * sight.trip)
    preferred = sorted(sight.cell.regions, key=lambda region: region != _due(sight))
    place = preferred.index(sight.region)
    if len(preferred) > 1 and (sight.shaky or _is_given_up(sight, sight.region)):
        place = len(preferred)  # all others first: it would only lose the lease again
    patience = wait * place
    if sight.region in sight.aside and sight.open_for < patience + ASIDE_SECONDS:
        return Decision(Action.WAIT, f"{sight.region} is being worked on: others may take {name}.")
    if sight.open_for < patience:
        return Decision(Action.WAIT, f"More preferred regions have the first try for {name}.")
    return Decision(Action.ACQUIRE, f"Nobody holds {name}.")


def _due(sight: Sight) -> str:
    """The region that should write: by the timetable, or the cell's home."""
    return sight.turn.region if sight.turn else sight.cell.regions[0]
