"""Three regions' leaders in simulated time: over slow links, under load, they keep one writer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regions.failover.decide import Decision
from regions.failover.journal import Request
from regions.failover.leading import Leader, Renew, ServerClock, server_clock_of
from regions.failover.lease import Accepted, Held, Leases
from regions.failover.lease_map import LeaseMap
from regions.failover.link import Connection, Link
from regions.topology import CellSpec, TenancyMode, WritePolicy
from tests.regions.failover.simulated import Vote, simulate

T = TypeVar("T")

TTL = 3.0
HANDSHAKES = 4
REGIONS = ("a", "b", "c")
CELL = CellSpec("control", TenancyMode.CONTROL, WritePolicy.ACTIVE_PASSIVE, REGIONS)
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


@dataclass
class World:
    """How far the regions are from each other, and how busy the machine is: each answer takes up
    to `load` seconds more."""

    trip: float
    load: float
    chance: random.Random
    dead: set[str] = field(default_factory=set)
    votes: dict[str, Vote] = field(default_factory=lambda: {name: Vote() for name in REGIONS})

    async def travel(self, a: str, b: str, trips: float = 0.5) -> None:
        far = self.trip * trips if a != b else 0.001
        await asyncio.sleep(far + self.chance.uniform(0, self.load))
        while self.dead & {a, b}:
            await asyncio.sleep(0.1)


@dataclass
class Far:
    """An acceptor that answers over the real `Link`, with a handshake before the first answer."""

    world: World
    proposer: str
    name: str
    look: Link = field(init=False)
    vote: Link = field(init=False)

    def __post_init__(self) -> None:
        self.look = Link(self.name, "", timeout=TTL / 2, open_session=self._open)
        self.vote = Link(self.name, "", timeout=TTL / 2, open_session=self._open)

    async def _open(self, dsn: str) -> Connection:
        await self.world.travel(self.proposer, self.name, HANDSHAKES)
        return cast(Connection, self)

    closed = False

    @property
    def pgconn(self) -> Far:
        return self

    def finish(self) -> None:
        pass

    async def _call(self, what: Callable[[Vote, float], T], link: Link | None = None) -> T:
        async def there_and_back(_: object) -> T:
            await self.world.travel(self.proposer, self.name)
            answer = what(self.world.votes[self.name], now())
            await self.world.travel(self.name, self.proposer)
            return answer

        return await (link or self.vote).use(there_and_back)

    async def state(self, cells: Sequence[str]) -> list[Accepted]:
        self.vote.warm()
        return [await self._call(lambda vote, at: vote.said(CELL.name, at), self.look)]

    async def prepare(self, ballots: Mapping[str, int]) -> dict[str, tuple[bool, Accepted]]:
        ballot = ballots[CELL.name]
        return {CELL.name: await self._call(lambda vote, at: vote.prepare(CELL.name, ballot, at))}

    async def accept(
        self, proposals: Mapping[str, tuple[int, int]], holder: str, ttl: float
    ) -> set[str]:
        proposed = proposals[CELL.name]
        done = await self._call(lambda vote, at: vote.accept(*proposed, holder, at + ttl))
        return {CELL.name} if done else set()

    async def release(
        self, cell: str, holder: str, epoch: int, successor: str | None, reserved: float
    ) -> None:
        await self._call(lambda vote, at: vote.release(holder, epoch, successor, at + reserved))


@dataclass
class Place:
    """One region: its replica's gate, its clock, and nobody who asks for anything."""

    world: World
    name: str
    gate: tuple[int, datetime] = (0, MONDAY)
    handing_over = False
    writable = True

    def leased(self) -> list[CellSpec]:
        return [CELL]

    def replica(self, cell: str) -> Place:
        return self

    async def server_clock(self) -> ServerClock:
        await self.world.travel(self.name, self.name)
        return server_clock_of(MONDAY + timedelta(seconds=now()), now())

    async def hand_over(self, held: Held, request: Request, renew: Renew) -> None:
        raise AssertionError("nobody asked")

    async def open_gate(self, epoch: int, until: datetime) -> None:
        await self.world.travel(self.name, self.name)
        self.gate = max(self.gate, (epoch, until))

    async def drained(self) -> bool:
        return True

    @property
    def writes(self) -> bool:
        return self.name not in self.world.dead and self.gate[1] > MONDAY + timedelta(seconds=now())

    # -- what is said is not of interest --

    async def requests(self) -> dict[str, Request]:
        await self.world.travel(self.name, self.name)
        return {}

    async def settle(self, identity: UUID, outcome: str) -> None: ...
    async def event(self, cell: str, decision: Decision, epoch: int | None = None) -> None: ...

    def say(self, about: str, sentence: str) -> bool:
        return False

    async def attempt(self, about: str, call: Awaitable[object]) -> None:
        await call


def now() -> float:
    return asyncio.get_running_loop().time()


def leader(world: World, place: Place, folder: Path) -> Leader:
    node = REGIONS.index(place.name) + 1
    acceptors: Any = {name: Far(world, place.name, name) for name in REGIONS}
    leases = Leases(place.name, node, acceptors, TTL, clock=now)
    lease_map = LeaseMap(folder / place.name, place.name)
    chance = random.Random(f"{place.name} {world.chance.random()}").random
    return Leader(
        place.name, leases, place, place, lease_map, ttl=TTL, chance=chance, clock=now
    )  # fmt: skip


@dataclass
class Seen:
    """At which moments nobody wrote, and whether two ever did."""

    silent: list[float] = field(default_factory=list)
    most: int = 0

    def longest_silence(self, since: float, step: float) -> float:
        longest = run = 0.0
        last = None
        for at in (at for at in self.silent if at >= since):
            run = run + step if last is not None and at - last < 1.5 * step else step
            longest, last = max(longest, run), at
        return longest


STEP = 0.05


def watch(world: World, folder: Path, seconds: float, then: Callable[[float], None]) -> Seen:
    """Let the leaders work for so long; `then` is called at each step, to do harm."""
    places = [Place(world, name) for name in REGIONS]
    for name in REGIONS:
        (folder / name).mkdir(exist_ok=True)

    async def run() -> Seen:
        seen = Seen()
        leaders = [asyncio.create_task(leader(world, place, folder).run()) for place in places]
        while now() < seconds:
            then(now())
            writers = [place.name for place in places if place.writes]
            seen.most = max(seen.most, len(writers))
            if not writers:
                seen.silent.append(now())
            await asyncio.sleep(STEP)
        for task in leaders:
            task.cancel()
        await asyncio.gather(*leaders, return_exceptions=True)
        return seen

    return simulate(run())


def nothing(_: float) -> None:
    pass


# The slowest answers take two fifths of the time to live.
worlds = st.builds(
    World,
    trip=st.sampled_from([0.002, 0.1, 0.3, 0.6]),
    load=st.sampled_from([0.0, 0.1, 0.3]),
    chance=st.integers(0, 10_000).map(random.Random),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("maps")


@given(world=worlds)
@settings(max_examples=10, deadline=None)
def test_a_cell_has_a_writer_soon_and_keeps_it_as_long_as_a_majority_answers(
    folder: Path, world: World
) -> None:
    seen = watch(world, folder, 30.0, nothing)
    assert seen.most == 1
    assert not [at for at in seen.silent if at > 10.0]


@given(world=worlds)
@settings(max_examples=10, deadline=None)
def test_a_lost_writer_is_replaced_and_there_are_never_two(folder: Path, world: World) -> None:
    def kill(at: float) -> None:
        world.dead = {"a"} if 15.0 <= at < 30.0 else set()

    seen = watch(world, folder, 40.0, kill)
    assert seen.most == 1
    assert seen.longest_silence(11.0, STEP) <= TTL + 8 * (world.trip + 2 * world.load) + 1.0
