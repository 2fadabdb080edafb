"""Every state that a few proposers and three acceptors of one lease can get into, breadth first.

A message is delivered at any later time, or never, in any order, also after its sender restarted;
any answers beyond a majority's may get lost; time goes on between any two steps. The decisions are
those of `regions.failover.proposing`, the acceptors the `Vote` that `test_votes_alike.py` compares
with `lease.sql` and with etcd. Times are kept as ticks from now, and acceptors without their names,
so that states which differ in nothing else are one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations, repeat
from typing import NamedTuple

from regions.failover import proposing
from tests.regions.failover.lease_seats import (
    TTL,
    Message,
    Seat,
    arrived,
    but,
    forgotten,
    gets,
    later,
    name_of,
    new_seat,
    put,
    seat_of,
)
from tests.regions.failover.simulated import Vote

ACCEPTORS = 3
# The phases in which a proposer waits for the answers to a message.
PHASES = {"prepare": ("prepare", "again"), "accept": ("accept", "renew")}
Asked = tuple[int, str]  # a proposer's ballot and phase


class Proposer(NamedTuple):
    """`phase`: idle, prepare, accept, renew (an accept of what it holds) or again (a prepare of
    that). `asked`: ticks since it proposed; `age`: since it asked for the lease under which its
    gate is open, which it `knows` of unless it restarted."""

    number: int = 0
    phase: str = "idle"
    ballot: int = 0
    epoch: int = 0
    asked: int = 0
    age: int | None = None
    knows: bool = False


class Budget(NamedTuple):
    """How often each of these may still happen; `tries` and `renewals` for each proposer, `ticks`
    of the clock (None: as many as there are)."""

    tries: tuple[int, ...]
    renewals: int = 0
    releases: int = 0
    restarts: int = 0
    restores: int = 0
    ticks: int | None = None


class State(NamedTuple):
    """`newest`: the highest epoch that anybody got, and who."""

    seats: tuple[Seat, ...]
    proposers: tuple[Proposer, ...]
    budget: Budget
    newest: tuple[int, int] = (0, -1)


class Broken(AssertionError):
    """Two live leases, or an epoch that went backwards or to two regions."""


@dataclass(frozen=True)
class Rules:
    """What keeps writers apart; a mutant has one of them removed."""

    open_epoch: Callable[..., int | None] = proposing.open_epoch
    still_held: Callable[..., bool] = proposing.still_held
    ends: Callable[[float, float], float] = proposing.ends
    majority: int = proposing.majority_of(ACCEPTORS)
    last_round: Callable[..., int] = proposing.last_round
    vote: type[Vote] = Vote
    mute: int = TTL
    learns: bool = True


def begin(budget: Budget) -> State:
    each = len(budget.tries)
    return State((new_seat(each),) * ACCEPTORS, (Proposer(),) * each, budget)


def explore(budget: Budget, rules: Rules = Rules()) -> int:
    """How many states there are. Raises Broken with the first that must not be."""
    first = begin(budget)
    seen, edge = {first}, [first]
    while edge:
        found = []
        for state in edge:
            for after in steps(state, rules):
                if after not in seen:
                    seen.add(after)
                    found.append(after)
        edge = found
    return len(seen)


def steps(state: State, rules: Rules) -> Iterator[State]:
    """What may come next. Who has no try left gives up when its time is over, not before: nothing
    else could come of it. And where nobody can get or renew a lease any more, nothing can break."""
    if not any(map(_may_win, state.proposers, state.budget.tries, repeat(state.budget.renewals))):
        return
    if state.budget.ticks != 0:
        yield _tick(state, rules)
    for who, one in enumerate(state.proposers):
        yield from _acts(state, who, one, rules)
    for at, seat in enumerate(state.seats):
        for message in seat.sent:
            one = state.proposers[message.sender]
            awaited = _awaits((one.ballot, one.phase), message)
            after = arrived(seat, message, awaited, rules.vote)
            seats = put(state.seats, at, after)
            yield _state(seats, state.proposers, state.budget, state.newest)
        if state.budget.restores and seat.promised:
            yield _restored(state, at, rules)


def _may_win(one: Proposer, tries: int, renewals: int) -> bool:
    return one.phase != "idle" or tries > 0 or (one.knows and renewals > 0)


# -- what proposers do ----------------------------------------------------------------------------


def _acts(state: State, who: int, one: Proposer, rules: Rules) -> Iterator[State]:
    budget = state.budget
    tries = put(budget.tries, who, budget.tries[who] - 1)
    if not one.knows and one.phase == "idle" and budget.tries[who]:
        yield _prepares(state, who, one, "prepare", budget._replace(tries=tries))
    if one.phase in ("prepare", "again"):
        yield from _concludes(state, who, one, rules)
    if one.phase in ("accept", "renew"):
        votes = [seat.said[who] for seat in state.seats]
        if votes.count(True) >= rules.majority:
            yield _wins(state, who, one, rules)
        elif one.phase == "renew" and False in votes and budget.tries[who]:
            yield _prepares(state, who, one, "again", budget._replace(tries=tries))
        elif budget.tries[who]:
            yield _put(state, who, one._replace(phase="idle"))
    if one.knows and one.phase == "idle":
        if budget.renewals:
            less = budget._replace(renewals=budget.renewals - 1)
            renewing = one._replace(phase="renew", asked=0)
            yield _send(state._replace(budget=less), who, renewing, "accept")
        if budget.releases:
            less = budget._replace(releases=budget.releases - 1)
            shut = one._replace(age=None, knows=False)
            yield _send(state._replace(budget=less), who, shut, "release")
    if budget.restarts and one.number:
        less = budget._replace(restarts=budget.restarts - 1)
        yield _put(state._replace(budget=less), who, Proposer(age=one.age))


def _prepares(state: State, who: int, one: Proposer, phase: str, budget: Budget) -> State:
    number = one.number + 1
    ballot = proposing.ballot_of(number, who + 1)
    one = one._replace(number=number, phase=phase, ballot=ballot, asked=0)
    return _send(state._replace(budget=budget), who, one, "prepare")


def _concludes(state: State, who: int, one: Proposer, rules: Rules) -> Iterator[State]:
    """From the answers of any majority: others may be late, or lost."""
    heard = [seat.said[who] for seat in state.seats if isinstance(seat.said[who], tuple)]
    outcomes = set()
    for size in range(rules.majority, len(heard) + 1):
        for promises in combinations(heard, size):
            number = rules.last_round(one.number, [answer.promised for _, answer in promises])
            if one.phase == "prepare":
                epoch = rules.open_epoch(name_of(who), promises, rules.majority)
            else:
                held = rules.still_held(name_of(who), one.epoch, promises, rules.majority)
                epoch = one.epoch if held else None
            outcomes.add((number, epoch))
    for number, epoch in outcomes:
        if epoch is None:
            if state.budget.tries[who]:
                yield _put(state, who, one._replace(number=number, phase="idle"))
        else:
            phase = "accept" if one.phase == "prepare" else "renew"
            asking = one._replace(number=number, phase=phase, epoch=epoch, asked=0)
            yield _send(state, who, asking, "accept")


def _wins(state: State, who: int, one: Proposer, rules: Rules) -> State:
    age = one.asked if one.asked < rules.ends(0, TTL) else None
    after = _put(state, who, one._replace(phase="idle", age=age, knows=age is not None))
    if age is None:
        return after
    newest, winner = state.newest
    if one.epoch < newest or (one.epoch == newest and winner != who):
        raise Broken(f"{name_of(who)} got epoch {one.epoch} after {state.newest}")
    if sum(other.age is not None for other in after.proposers) > 1:
        raise Broken(f"two live leases: {after.proposers}")
    return after._replace(newest=(one.epoch, who))


def _send(state: State, who: int, one: Proposer, kind: str) -> State:
    """To every acceptor; what it heard of them before is about something else."""
    message = Message(kind, who, one.ballot, one.epoch if kind != "prepare" else 0)
    seats = tuple(gets(forgotten(seat, who), message) for seat in state.seats)
    return _put(state._replace(seats=seats), who, one)


def _put(state: State, who: int, one: Proposer) -> State:
    seats = state.seats
    if one.phase == "idle":
        seats = tuple(forgotten(seat, who) for seat in seats)
    proposers = put(state.proposers, who, one)
    return _state(seats, proposers, state.budget, state.newest)


def _restored(state: State, at: int, rules: Rules) -> State:
    """From a snapshot of when it was new; it has no vote for a while."""
    lost = state.seats[at]
    seat = seat_of(0, None, 0, 0, rules.mute, lost.sent, lost.said)
    less = state.budget._replace(restores=state.budget.restores - 1)
    return _state(put(state.seats, at, seat), state.proposers, less, state.newest)


def _instructed(seats: tuple[Seat, ...], rules: Rules) -> tuple[Seat, ...]:
    """Who will have a vote again at the next tick has learned what the others know."""
    if not rules.learns or all(seat.mute != 1 for seat in seats):
        return seats
    others = [seat for seat in seats if seat.mute != 1]
    known = max(others, key=lambda seat: seat.epoch)
    promised = max(seat.promised for seat in others)
    return tuple(
        but(seat, promised=promised, holder=known.holder, epoch=known.epoch)
        if seat.mute == 1
        else seat
        for seat in seats
    )


# -- bookkeeping ----------------------------------------------------------------------------------


def _tick(state: State, rules: Rules) -> State:
    end = rules.ends(0, TTL)

    def aged(one: Proposer) -> Proposer:
        age = None if one.age is None or one.age + 1 >= end else one.age + 1
        asked = one.asked + 1 if one.phase != "idle" else 0
        # What has ended is not renewed, and what was asked for too long ago not had.
        over = asked >= end or (age is None and one.phase in ("renew", "again"))
        phase = "idle" if over else one.phase
        return one._replace(age=age, asked=asked, phase=phase, knows=one.knows and age is not None)

    ticks = state.budget.ticks
    budget = state.budget._replace(ticks=None if ticks is None else ticks - 1)
    seats = tuple(map(later, _instructed(state.seats, rules)))
    proposers = tuple(map(aged, state.proposers))
    return _state(seats, proposers, budget, state.newest)


def _awaits(asked: Asked, message: Message) -> bool:
    ballot, phase = asked
    return ballot == message.ballot and phase in PHASES.get(message.kind, ())


def _state(
    seats: tuple[Seat, ...],
    proposers: tuple[Proposer, ...],
    budget: Budget,
    newest: tuple[int, int],
) -> State:
    """Acceptors are alike; a message that can change nothing any more is gone."""
    asked = tuple([(one.ballot, one.phase) for one in proposers])
    alive = sorted([_without_dead(seat, asked) for seat in seats], key=lambda seat: seat.serial)
    return State(tuple(alive), proposers, budget, newest)


@cache
def _without_dead(seat: Seat, asked: tuple[Asked, ...]) -> Seat:
    """A promise that nobody waits for only keeps others out."""
    dead = [
        message
        for message in seat.sent
        if not _awaits(asked[message.sender], message)
        and message.kind != "release"
        and (message.kind == "prepare" or message.ballot < seat.promised)
    ]
    return but(seat, sent=seat.sent.difference(dead)) if dead else seat
