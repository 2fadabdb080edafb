"""Leases on cells, granted by a majority of acceptors: PaxosLease.

After Trencséni, Gazsó, Reinhardt: "PaxosLease: Diskless Paxos for Leases" (2012,
arXiv:1209.4187), with durable ballots, so that a restarted acceptor need not sit out a lease.

Invariants, under bounded clock drift and nothing else about clocks:

- At most one region holds a cell's lease: a proposer proposes only after a majority answered that
  nobody else holds it, and any two majorities share an acceptor.
- A holder's lease ends, by its own monotonic clock, before any acceptor's: it counts from before
  it asked, and gives up DRIFT of the time to live.
- Epochs only grow: a new holder takes one more than the highest that a majority has accepted.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import psycopg

from regions.failover.acceptors import Accepted, Acceptor
from regions.failover.link import Unreachable
from regions.failover.proposing import (
    ballot_of,
    ends,
    last_round,
    majority_of,
    open_epoch,
    still_held,
)

T = TypeVar("T")

STRAGGLERS = 0.05  # seconds that a majority waits for the rest
RESERVED_SECONDS = 3.0  # the first try of whom a lease was let go for
WORD_SECONDS = 0.001  # a word is at least so much newer than the last one


@dataclass(frozen=True, slots=True)
class Held:
    """A lease that this region holds, last `asked` for; both times are on the proposer's clock."""

    cell: str
    epoch: int
    ballot: int
    asked: float
    until: float


@dataclass(frozen=True, slots=True)
class View:
    """One cell's lease as a majority sees it; `holder` is None where nobody holds it, `last` is
    who held it last; who is `aside` leaves leases to others while there are any."""

    holder: str | None
    last: str | None
    epoch: int
    open: bool
    answered: int
    successor: str | None
    aside: frozenset[str] = frozenset()


class Leases:
    """The proposer of one region: reads, acquires, renews and releases, many cells at once."""

    def __init__(
        self,
        region: str,
        node: int,
        acceptors: Mapping[str, Acceptor],
        ttl: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._region = region
        self._node = node
        self._acceptors = acceptors
        self._ttl = ttl
        self._clock, self._round = clock, 0
        self._seen: list[Sequence[Accepted]] = []  # kept: what is alive has an identity of its own
        self._views: dict[str, View] = {}
        self._let_go: dict[str, int] = {}  # epochs: a renewal under way must not undo it

    @property
    def majority(self) -> int:
        return majority_of(len(self._acceptors))

    async def observe(self, cells: Sequence[str]) -> dict[str, View]:
        """Each cell's lease, from the acceptors that answer; the same object as last time if all
        that they say is what they said then."""
        answers = await self._ask(lambda acceptor: acceptor.state())
        same = {id(answer) for answer in answers} == {id(answer) for answer in self._seen}
        if same and self._views.keys() == set(cells):
            return self._views
        by_cell: dict[str, list[Accepted]] = {cell: [] for cell in cells}
        for answer in answers:
            self._learn(accepted.promised for accepted in answer)
            for accepted in answer:
                if accepted.cell in by_cell:
                    by_cell[accepted.cell].append(accepted)
        self._seen = answers
        self._views = {cell: self._view(seen, len(answers)) for cell, seen in by_cell.items()}
        return self._views

    async def acquire(self, cells: Sequence[str]) -> dict[str, Held]:
        """Try to get these cells' leases; returns those that were got."""
        if not cells:
            return {}
        ballots = {cell: self._next_ballot() for cell in cells}
        prepared = self._clock()
        promises = await self._ask(lambda acceptor: acceptor.prepare(ballots))
        proposals = {}
        for cell in cells:
            answers = [answer[cell] for answer in promises if cell in answer]
            self._learn(accepted.promised for _, accepted in answers)
            epoch = open_epoch(self._region, answers, self.majority)
            if epoch is not None:
                proposals[cell] = (ballots[cell], epoch)
        won, _ = await self._propose(proposals, prepared)
        return won

    async def renew(self, held: Iterable[Held]) -> dict[str, Held]:
        """Extend leases with the ballots that won them; returns those that live on.

        A lease that is refused a renewal (a rival's prepare raised the promises) is prepared anew;
        one that too few acceptors answered about is simply tried again, by the caller.
        """
        mine = {lease.cell: lease for lease in held if self._lives(lease)}
        proposals = {cell: (lease.ballot, lease.epoch) for cell, lease in mine.items()}
        renewed, refused = await self._propose(proposals, self._clock())
        if refused:
            ballots = {cell: self._next_ballot() for cell in refused}
            prepared = self._clock()
            promises = await self._ask(lambda acceptor: acceptor.prepare(ballots))
            again = {}
            for cell in refused:
                answers = [answer[cell] for answer in promises if cell in answer]
                self._learn(accepted.promised for _, accepted in answers)
                epoch = mine[cell].epoch
                kept = still_held(self._region, epoch, answers, self.majority)
                if kept and self._lives(mine[cell]):
                    again[cell] = (ballots[cell], epoch)
            renewed |= (await self._propose(again, prepared))[0]
        return renewed

    async def release(self, lease: Held, *, successor: str | None, reserved: float) -> None:
        """Let go before the end; `successor` has the first try for `reserved` seconds."""
        self._let_go[lease.cell] = lease.epoch
        await self._ask(
            lambda acceptor: acceptor.release(
                lease.cell, self._region, lease.epoch, successor, reserved
            )
        )

    def _lives(self, lease: Held) -> bool:
        return self._clock() < lease.until and self._let_go.get(lease.cell) != lease.epoch

    async def _propose(
        self, proposals: Mapping[str, tuple[int, int]], prepared: float
    ) -> tuple[dict[str, Held], set[str]]:
        """The leases that a majority accepted, and the cells that were refused instead. Nothing is
        proposed on promises of long ago: an acceptor that was restored has waited them out."""
        started = self._clock()
        if not proposals or started >= ends(prepared, self._ttl):
            return {}, set()
        answers = await self._ask(
            lambda acceptor: acceptor.accept(proposals, self._region, self._ttl)
        )
        votes = Counter(chain.from_iterable(answers))
        majority, until = self.majority, ends(started, self._ttl)
        accepted = {
            cell: Held(cell, epoch, ballot, started, until)
            for cell, (ballot, epoch) in proposals.items()
            if votes[cell] >= majority
        }
        refused = set[str]().union(*(proposals.keys() - answer for answer in answers))
        return accepted, refused - accepted.keys()

    async def _ask(self, question: Callable[[Acceptor], Coroutine[Any, Any, T]]) -> list[T]:
        """The acceptors' answers: from a majority on, slow ones are given STRAGGLERS seconds."""
        waiting = {asyncio.create_task(question(each)) for each in self._acceptors.values()}
        answers: list[T] = []
        while waiting:
            patience = STRAGGLERS if len(answers) >= self.majority else None
            done, waiting = await asyncio.wait(
                waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            for task in done:
                # A server that refuses (it is starting, or not set up yet) has not voted either.
                if not isinstance(task.exception(), (Unreachable, psycopg.Error)):
                    answers.append(task.result())
        for task in waiting:
            task.add_done_callback(lambda late: late.cancelled() or late.exception())
        return answers

    def _view(self, seen: list[Accepted], answered: int) -> View:
        epoch = max((accepted.epoch for accepted in seen), default=0)
        votes: dict[str, int] = {}
        for accepted in seen:
            if accepted.live and accepted.holder is not None:
                votes[accepted.holder] = votes.get(accepted.holder, 0) + 1
        holder = next((who for who, count in votes.items() if count >= self.majority), None)
        others = sum(count for who, count in votes.items() if who != self._region)
        successor = next((a.successor for a in seen if a.reserved and a.successor), None)
        return View(
            holder=holder,
            last=max(seen, key=lambda one: one.epoch).holder if seen else None,
            epoch=epoch,
            open=answered - others >= self.majority,
            answered=answered,
            successor=successor,
            aside=standing_aside(word for accepted in seen for word in accepted.words),
        )

    def _next_ballot(self) -> int:
        """Unique, and higher than any this proposer has seen."""
        self._round += 1
        return ballot_of(self._round, self._node)

    def _learn(self, promised: Iterable[int]) -> None:
        self._round = last_round(self._round, promised)


def standing_aside(words: Iterable[tuple[str, float, bool]]) -> frozenset[str]:
    """Of each region the newest word counts."""
    newest: dict[str, tuple[float, bool]] = {}
    for region, at, aside in words:
        newest[region] = max(newest.get(region, (at, aside)), (at, aside))
    return frozenset(region for region, (_, aside) in newest.items() if aside)


def later_than(words: Iterable[tuple[str, float, bool]], region: str, now: float) -> float:
    """When the next word about a region is said: after the last one, whatever the clock was of the
    machine that said it."""
    return max([now, *(at + WORD_SECONDS for about, at, _ in words if about == region)])
