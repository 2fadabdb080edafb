"""PaxosLease over simulated acceptors: at most one holder, whatever is lost, late or restarted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from regions.failover.acceptors import Accepted
from regions.failover.lease import Held, Leases
from regions.failover.link import Unreachable
from tests.regions.failover.simulated import Vote

TTL = 3.0
CELL = "c"
REGIONS = ("a", "b", "c")


@dataclass
class World:
    """One clock, and which proposer reaches which acceptor."""

    now: float = 0.0
    cut: set[tuple[str, str]] = field(default_factory=set)
    delays: list[int] = field(default_factory=list)

    async def on_the_way(self) -> None:
        """Messages overtake each other: each takes as many turns of the loop as was drawn."""
        for _ in range(self.delays.pop() if self.delays else 0):
            await asyncio.sleep(0)


@dataclass
class Seen:
    """One proposer's way to one acceptor. An answer can get lost after it took effect."""

    world: World
    vote: Vote
    proposer: str
    name: str
    lose_answers: bool = False

    def _answer(self) -> None:
        if (self.proposer, self.name) in self.world.cut:
            raise Unreachable("cut")

    async def state(self) -> list[Accepted]:
        await self.world.on_the_way()
        self._answer()
        return [self.vote.said(CELL, self.world.now)]

    async def prepare(self, ballots: Mapping[str, int]) -> dict[str, tuple[bool, Accepted]]:
        await self.world.on_the_way()
        self._answer()
        promise = self.vote.prepare(CELL, ballots[CELL], self.world.now)
        if self.lose_answers:
            raise Unreachable("lost")
        return {CELL: promise}

    async def accept(
        self, proposals: Mapping[str, tuple[int, int]], holder: str, ttl: float
    ) -> set[str]:
        await self.world.on_the_way()
        self._answer()
        accepted = self.vote.accept(*proposals[CELL], holder, self.world.now + ttl)
        if self.lose_answers and accepted:
            raise Unreachable("lost")
        return {CELL} if accepted else set()

    async def release(
        self, cell: str, holder: str, epoch: int, successor: str | None, reserved: float
    ) -> None:
        self._answer()
        self.vote.release(holder, epoch, successor, self.world.now + reserved)


class LeaseMachine(RuleBasedStateMachine):
    """Three regions propose, renew, release, restart and lose links in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.votes = {name: Vote() for name in REGIONS}
        self.ways = {
            (p, a): Seen(self.world, self.votes[a], p, a) for p in REGIONS for a in REGIONS
        }
        self.leases = {name: self._proposer(name) for name in REGIONS}
        self.held: dict[str, Held] = {}
        self.epochs: dict[int, str] = {}
        self.newest = 0
        self.loop = asyncio.new_event_loop()

    def _proposer(self, name: str) -> Leases:
        ways = {a: self.ways[name, a] for a in REGIONS}
        return Leases(name, REGIONS.index(name) + 1, ways, TTL, clock=lambda: self.world.now)

    def teardown(self) -> None:
        self.loop.close()

    def _keep(self, name: str, won: Mapping[str, Held]) -> None:
        if CELL in won:
            self.held[name] = won[CELL]
            self.epochs.setdefault(won[CELL].epoch, name)
            assert self.epochs[won[CELL].epoch] == name, "two regions got one epoch"
            assert won[CELL].epoch >= self.newest, "an epoch went backwards"
            self.newest = won[CELL].epoch

    @rule(name=st.sampled_from(REGIONS))
    def acquire(self, name: str) -> None:
        self._keep(name, self.loop.run_until_complete(self.leases[name].acquire([CELL])))

    @rule(
        names=st.permutations(REGIONS),
        delays=st.lists(st.integers(0, 12), min_size=9, max_size=18),
    )
    def race(self, names: list[str], delays: list[int]) -> None:
        """All try at once, and their messages interleave."""
        self.world.delays = delays

        async def all_at_once() -> list[dict[str, Held]]:
            return await asyncio.gather(*(self.leases[name].acquire([CELL]) for name in names))

        for name, won in zip(names, self.loop.run_until_complete(all_at_once()), strict=True):
            self._keep(name, won)
        self.world.delays = []

    @rule(name=st.sampled_from(REGIONS))
    def renew(self, name: str) -> None:
        lease = self.held.get(name)
        if lease and self.world.now < lease.until:
            renewed = self.loop.run_until_complete(self.leases[name].renew([lease]))
            if CELL in renewed:
                self.held[name] = renewed[CELL]

    @rule(
        name=st.sampled_from(REGIONS),
        to=st.sampled_from(REGIONS),
        lets_go=st.booleans(),
        delays=st.lists(st.integers(0, 12), min_size=9, max_size=24),
    )
    def renew_while_others_try(self, name: str, to: str, lets_go: bool, delays: list[int]) -> None:
        """A renewal on its way meets others' tries, and perhaps its own region's letting go."""
        lease = self.held.get(name)
        if lease is None or self.world.now >= lease.until:
            return
        self.world.delays = delays
        others = [other for other in REGIONS if other != name]

        async def at_once() -> list[dict[str, Held]]:
            renewal = asyncio.create_task(self.leases[name].renew([lease]))
            if lets_go:
                self.held.pop(name)
                await self.leases[name].release(lease, successor=to, reserved=TTL)
            tries = [self.leases[other].acquire([CELL]) for other in others]
            return [await renewal, *await asyncio.gather(*tries)]

        renewed, *won = self.loop.run_until_complete(at_once())
        self.world.delays = []
        # What was let go, or lost, is not had again because an old renewal comes through.
        if CELL in renewed and self.held.get(name) is lease:
            self.held[name] = renewed[CELL]
        for other, one in zip(others, won, strict=True):
            self._keep(other, one)

    @rule(name=st.sampled_from(REGIONS), to=st.sampled_from(REGIONS))
    def release(self, name: str, to: str) -> None:
        lease = self.held.pop(name, None)
        if lease:
            self.loop.run_until_complete(
                self.leases[name].release(lease, successor=to, reserved=TTL)
            )

    @rule(name=st.sampled_from(REGIONS))
    def restart(self, name: str) -> None:
        """A proposer forgets its rounds and its leases; acceptors keep theirs."""
        self.leases[name] = self._proposer(name)
        self.held.pop(name, None)

    @rule(pair=st.tuples(st.sampled_from(REGIONS), st.sampled_from(REGIONS)))
    def toggle_link(self, pair: tuple[str, str]) -> None:
        self.world.cut ^= {pair}

    @rule(pair=st.tuples(st.sampled_from(REGIONS), st.sampled_from(REGIONS)))
    def toggle_lost_answers(self, pair: tuple[str, str]) -> None:
        self.ways[pair].lose_answers = not self.ways[pair].lose_answers

    @rule(seconds=st.floats(0.01, TTL))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds

    @invariant()
    def at_most_one_region_holds_the_lease(self) -> None:
        holders = [name for name, lease in self.held.items() if self.world.now < lease.until]
        assert len(holders) <= 1, holders


TestLeaseMachine = LeaseMachine.TestCase
TestLeaseMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


class Sleeper(Seen):
    """Answers; and then its proposer is frozen for as long as a lease lives."""

    async def prepare(self, ballots: Mapping[str, int]) -> dict[str, tuple[bool, Accepted]]:
        promises = await super().prepare(ballots)
        self.world.now += TTL / len(REGIONS)
        return promises


def test_nothing_is_proposed_on_promises_of_long_ago() -> None:
    """An acceptor that was restored meanwhile has forgotten its own, and has waited it out."""
    world = World()
    votes = {name: Vote() for name in REGIONS}
    ways = {name: Sleeper(world, votes[name], "a", name) for name in REGIONS}
    leases = Leases("a", 1, ways, TTL, clock=lambda: world.now)
    assert not asyncio.run(leases.acquire([CELL]))
    assert {vote.holder for vote in votes.values()} == {None}
    assert all(vote.promised for vote in votes.values())
