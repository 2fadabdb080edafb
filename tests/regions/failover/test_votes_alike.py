"""The model's vote, `lease.sql` and etcd give the same answers to the same messages: what is true
of the `Vote` that `lease_states.py` searches with is true of what really votes.

Only etcd may take a lease that has ended for one that lives, for a time: it has no clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, ClassVar

import psycopg
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from regions.deployment import ADMIN_ROLE, Deployment, LeaseStore
from regions.failover.acceptors import Accepted, Acceptor
from regions.failover.etcd import Etcd
from regions.failover.etcd_acceptor import EtcdAcceptor
from regions.failover.proposing import ballot_of
from tests.etcd import Cluster
from tests.regions.failover.simulated import Vote
from tests.regions.failover.stores import Closing, in_postgres

# So long that what a slow machine takes for an example is nothing beside it.
TTL = 100_000.0
STEP = 0.4 * TTL
REGIONS = ("a", "b", "c")
CELLS = ("one", "two")
_AGE = """
UPDATE lease.acceptor SET expires_at = expires_at - make_interval(secs => %s),
       reserved_until = reserved_until - make_interval(secs => %s)
"""
_FORGET = "DELETE FROM lease.acceptor"


@dataclass
class Model:
    """The model's vote about every cell, asked as an acceptor is."""

    now: float = 2 * TTL
    votes: dict[str, Vote] = field(default_factory=dict)

    async def state(self) -> list[Accepted]:
        return [vote.said(cell, self.now) for cell, vote in self.votes.items()]

    async def prepare(self, ballots: Mapping[str, int]) -> dict[str, tuple[bool, Accepted]]:
        return {
            cell: self.votes.setdefault(cell, Vote()).prepare(cell, ballot, self.now)
            for cell, ballot in ballots.items()
        }

    async def accept(
        self, proposals: Mapping[str, tuple[int, int]], holder: str, ttl: float
    ) -> set[str]:
        return {
            cell
            for cell, (ballot, epoch) in proposals.items()
            if self.votes.get(cell, Vote()).accept(ballot, epoch, holder, self.now + ttl)
        }

    async def release(
        self, cell: str, holder: str, epoch: int, successor: str | None, reserved: float
    ) -> None:
        if cell in self.votes:
            self.votes[cell].release(holder, epoch, successor, self.now + reserved)


@dataclass
class Voter:
    """One store under test: `ways` by proposer; `later` makes its time go on."""

    ways: Mapping[str, Acceptor]
    later: Callable[[float], None]


class VotesMachine(RuleBasedStateMachine):
    """Proposers send messages, in any order and as late as they like, to the model and a store."""

    voter: ClassVar[Callable[[], Any]]
    exact: ClassVar[bool]
    runner: ClassVar[asyncio.Runner]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.stack = ExitStack()
        self.store: Voter = self.stack.enter_context(type(self).voter())
        self.rounds = 0
        self.prepared: list[tuple[str, str, int]] = []  # cell, who, ballot
        self.let_go: set[str] = set()
        self.proposed: dict[tuple[str, int], int] = {}  # the epoch that a ballot came with
        self._ask(lambda acceptor: acceptor.state(), "a")

    def teardown(self) -> None:
        self.stack.close()

    def _ask(self, question: Callable[[Acceptor], Any], who: str) -> tuple[Any, Any]:
        return self._run(question(self.model)), self._run(question(self.store.ways[who]))

    def _run(self, answer: Any) -> Any:
        return type(self).runner.run(answer)

    @rule(who=st.sampled_from(REGIONS), cells=st.sets(st.sampled_from(CELLS), min_size=1),
          behind=st.integers(0, 3))  # fmt: skip
    def prepare(self, who: str, cells: set[str], behind: int) -> None:
        """`behind`: who has not heard of others' ballots comes with a lower one."""
        self.rounds += 1
        ballot = ballot_of(max(1, self.rounds - behind), REGIONS.index(who) + 1)
        fresh = {cell: ballot for cell in cells if (cell, who, ballot) not in self.prepared}
        mine, theirs = self._ask(lambda acceptor: acceptor.prepare(fresh), who)
        assert theirs.keys() == mine.keys()
        for cell, (granted, one) in mine.items():
            assert theirs[cell][0] == granted
            # Whom a lease is reserved for concerns who looks, not who prepares.
            real, model = (
                replace(each, successor=None, reserved=False) for each in (theirs[cell][1], one)
            )
            alike(real, model, self.exact)
        self.prepared += [(cell, who, ballot) for cell in fresh]

    @rule(pick=st.integers(0, 1 << 16))
    def accept(self, pick: int) -> None:
        """Or renew: any ballot that was prepared, often the newest, with the epoch that its
        proposer would have concluded."""
        if not self.prepared:
            return
        recent = self.prepared[-4:] if pick % 2 else self.prepared
        cell, who, ballot = recent[pick // 2 % len(recent)]
        self._accept(cell, who, ballot)

    def _accept(self, cell: str, who: str, ballot: int) -> None:
        vote = self.model.votes.get(cell, Vote())
        epoch = self.proposed.setdefault((cell, ballot), vote.epoch + (vote.holder != who))
        mine, theirs = self._ask(
            lambda acceptor: acceptor.accept({cell: (ballot, epoch)}, who, TTL), who
        )
        assert theirs == mine
        self.let_go -= mine

    @rule(who=st.sampled_from(REGIONS), cell=st.sampled_from(CELLS), old=st.booleans(),
          to=st.none() | st.sampled_from(REGIONS))  # fmt: skip
    def release(self, who: str, cell: str, old: bool, to: str | None) -> None:
        """Once: who has let go has nothing to let go."""
        vote = self.model.votes.get(cell, Vote())
        epoch = vote.epoch - old
        if cell in self.let_go:
            return
        if vote.holder == who and not old:
            self.let_go.add(cell)
        self._ask(lambda acceptor: acceptor.release(cell, who, epoch, to, TTL), who)

    @rule()
    def time_passes(self) -> None:
        """Everybody has looked before: with etcd a lease lives from when it was seen."""
        self._pass(STEP)

    @rule()
    def everything_ends(self) -> None:
        """No store holds what is over for alive for ever."""
        self._pass(3 * TTL)
        self._look(exact=True)

    @invariant()
    def everybody_is_told_the_same(self) -> None:
        self._look(exact=self.exact)

    def _look(self, *, exact: bool) -> None:
        for who in REGIONS:
            mine, theirs = self._ask(lambda acceptor: acceptor.state(), who)
            known = {one.cell: one for one in theirs}
            assert known.keys() == {one.cell for one in mine}
            for one in mine:
                alike(known[one.cell], one, exact)

    def _pass(self, seconds: float) -> None:
        self.everybody_is_told_the_same()
        self.model.now += seconds
        self.store.later(seconds)


class LostPromisesMachine(VotesMachine):
    """A majority of others may have promised what this acceptor has never heard of."""

    @rule(who=st.sampled_from(REGIONS), cell=st.sampled_from(CELLS))
    def accept_unprepared(self, who: str, cell: str) -> None:
        self.rounds += 1
        self._accept(cell, who, ballot_of(self.rounds, REGIONS.index(who) + 1))


def alike(real: Accepted, model: Accepted, exact: bool) -> None:
    """What lives by the model lives; the rest is the same."""
    if not exact:
        assert real.live >= model.live
        assert real.reserved >= model.reserved
        model = replace(model, live=real.live, reserved=real.reserved)
    assert replace(real, words=()) == model


def test_lease_sql_votes_as_the_model_does(deployment: Deployment) -> None:
    with in_postgres(deployment) as store, asyncio.Runner() as runner:
        region, *_ = deployment.regions
        closing: Closing = []
        assert store.spec is not None
        ways = {who: store.ways(who, TTL, closing)[region] for who in REGIONS}
        dsn = deployment.dsn(region, store.spec.database, ADMIN_ROLE)
        with psycopg.connect(dsn, autocommit=True) as admin:

            @contextmanager
            def voter() -> Iterator[Voter]:
                admin.execute(_FORGET)
                yield Voter(ways, lambda seconds: age(admin, seconds))

            check(LostPromisesMachine, voter, runner, exact=True)
        for close in closing:
            runner.run(close())


def age(admin: psycopg.Connection[Any], seconds: float) -> None:
    admin.execute(_AGE, (seconds, seconds))


def test_etcd_votes_as_the_model_does(etcd: Cluster) -> None:
    folders = count()
    with asyncio.Runner() as runner:
        client = Etcd(LeaseStore(tuple(etcd.urls)), timeout=60)

        @contextmanager
        def voter() -> Iterator[Voter]:
            now = [0.0]
            prefix = f"alike-{next(folders)}/"
            ways = {
                who: EtcdAcceptor(
                    client, who, TTL, clock=lambda: now[0], wall=lambda: 0.0, prefix=prefix
                )
                for who in REGIONS
            }

            def later(seconds: float) -> None:
                now[0] += seconds

            for way in ways.values():
                runner.run(way.state())
            later(2 * TTL)  # who has just begun waits as long as a lease may live
            yield Voter(ways, later)

        check(VotesMachine, voter, runner, exact=False)
        runner.run(client.close())


def check(
    kind: type[VotesMachine], voter: Callable[[], Any], runner: asyncio.Runner, *, exact: bool
) -> None:
    """On real servers an example is not made shorter for minutes when it fails."""
    given = {"voter": staticmethod(voter), "runner": runner, "exact": exact}
    run_state_machine_as_test(
        type(kind.__name__, (kind,), given),
        settings=settings(
            max_examples=15, stateful_step_count=30, deadline=None, phases=[Phase.generate]
        ),
    )
