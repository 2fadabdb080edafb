"""Three regions' leaders in simulated time, over the real `Link` to made-up acceptors."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import UUID, uuid4

from regions.failover.acceptors import Accepted
from regions.failover.decide import Decision
from regions.failover.etcd_acceptor import EtcdAcceptor
from regions.failover.journal import Request
from regions.failover.leading import Leader
from regions.failover.lease import Held, Leases, View
from regions.failover.lease_map import LeaseMap
from regions.failover.link import Connection, Link, Unreachable
from regions.failover.surroundings import Renew, ServerClock, server_clock_of
from regions.topology import CellSpec, TenancyMode, WritePolicy
from tests.regions.failover.simulated import Vote, simulate
from tests.regions.failover.simulated_etcd import Store, Way

T = TypeVar("T")

TTL = 3.0
HANDSHAKES = 4
REGIONS = ("a", "b", "c")
CELL = CellSpec("control", TenancyMode.CONTROL, WritePolicy.ACTIVE_PASSIVE, REGIONS)
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


@dataclass
class World:
    """How far the regions are from each other, and how busy the machine is: each answer takes up
    to `load` seconds more. `backlog`: until when a region has not applied what has arrived there;
    `received`: how much of the lost writer's log each has; `ill`: whose database takes no writes,
    whatever else it answers; `hidden`: whose web answers no client."""

    trip: float
    load: float
    chance: random.Random
    dead: set[str] = field(default_factory=set)
    ill: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    backlog: dict[str, float] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)  # of region a's agent
    told: dict[UUID, str] = field(default_factory=dict)  # how each ended
    busy: float = 0.0  # so old is what an agent has seen when it decides by it
    etcd: Store | None = None  # grants the leases instead of the regions, if there is one
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

    async def state(self) -> list[Accepted]:
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


class LateLeases(Leases):
    """What they show is `busy` seconds old."""

    busy = 0.0

    async def observe(self, cells: Sequence[str]) -> dict[str, View]:
        views = await super().observe(cells)
        await asyncio.sleep(self.busy)
        return views


@dataclass
class Place:
    """One region: its replica's gate, its clock, and what it is asked for."""

    world: World
    name: str
    cell: CellSpec = CELL
    gate: tuple[int, datetime] = (0, MONDAY)
    handing_over = False
    leases: LateLeases = field(init=False)

    @property
    def writable(self) -> bool:
        return self.name not in self.world.ill

    @property
    def reached(self) -> frozenset[str]:
        return frozenset(REGIONS) - self.world.hidden

    def leased(self) -> list[CellSpec]:
        return [self.cell]

    def replica(self, cell: str) -> Place:
        return self

    async def server_clock(self) -> ServerClock:
        await self.world.travel(self.name, self.name)
        if not self.writable:
            raise Unreachable(f"{self.name} has no room for a write.")
        return server_clock_of(MONDAY + timedelta(seconds=now()), now())

    async def hand_over(self, held: Held, target: str, renew: Renew, *, forced: bool) -> None:
        """As `handover.py` does it, with a target that has everything."""
        if target in self.world.dead:
            raise Unreachable(f"{target} does not answer.")
        self.handing_over = True
        try:
            if not await renew():
                raise Unreachable("not renewed")
            self.gate = (held.epoch, MONDAY)
            await self.leases.release(held, successor=target, reserved=TTL)
        finally:
            self.handing_over = False

    async def open_gate(self, epoch: int, until: datetime) -> None:
        await self.world.travel(self.name, self.name)
        if self.handing_over:
            return
        self.gate = max(self.gate, (epoch, until))

    async def drained(self) -> bool:
        return now() >= self.world.backlog.get(self.name, 0.0)

    async def ahead(self, cell: str, of: str) -> str | None:
        await self.world.travel(self.name, self.name)
        received = {
            name: self.world.received.get(name, 0)
            for name in self.cell.regions
            if name != of and name not in self.world.dead
        }
        most = max(received, key=lambda name: (received[name], name == self.name))
        return None if most == self.name else most

    @property
    def writes(self) -> bool:
        return self.name not in self.world.dead and self.gate[1] > MONDAY + timedelta(seconds=now())

    async def requests(self) -> list[Request]:
        await self.world.travel(self.name, self.name)
        return list(self.world.asked) if self.name == REGIONS[0] else []

    async def begin(self, request: Request) -> bool:
        return request in self.world.asked

    async def settle(self, request: Request, outcome: str) -> None:
        for one in [one for one in self.world.asked if one.wish == request.wish]:
            self.world.asked.remove(one)
            self.world.told[one.id] = outcome

    # -- what is said is not of interest --

    async def event(self, cell: str, decision: Decision, epoch: int | None = None) -> None: ...

    def say(self, about: str, sentence: str) -> bool:
        return False

    async def attempt(self, about: str, call: Awaitable[object]) -> None:
        await call


def wish(target: str, kind: str = "hand_over", *, by: str = "ann") -> Request:
    return Request(uuid4(), CELL.name, target, kind, forced=False, by=by, at=MONDAY)


def now() -> float:
    return asyncio.get_running_loop().time()


def wall() -> datetime:
    return MONDAY + timedelta(seconds=now())


def leader(world: World, place: Place, folder: Path) -> Leader:
    node = REGIONS.index(place.name) + 1
    acceptors: Any = {name: Far(world, place.name, name) for name in REGIONS}
    if world.etcd is not None:
        way: Any = Way(world.etcd, partial(world.travel, place.name, "etcd"))
        acceptors = {"etcd": EtcdAcceptor(way, place.name, TTL, clock=now)}
    leases = place.leases = LateLeases(place.name, node, acceptors, TTL, clock=now)
    leases.busy = world.busy
    lease_map = LeaseMap(folder / place.name, place.name)
    chance = random.Random(f"{place.name} {world.chance.random()}").random
    return Leader(
        place.name, leases, place, place, lease_map, ttl=TTL, chance=chance, clock=now, wall=wall
    )  # fmt: skip


@dataclass
class Seen:
    """At which moments nobody wrote, and whether two ever did."""

    silent: list[float] = field(default_factory=list)
    most: int = 0
    writers: dict[float, str] = field(default_factory=dict)

    def longest_silence(self, since: float, step: float) -> float:
        longest = run = 0.0
        last = None
        for at in (at for at in self.silent if at >= since):
            run = run + step if last is not None and at - last < 1.5 * step else step
            longest, last = max(longest, run), at
        return longest


STEP = 0.05


def watch(
    world: World,
    folder: Path,
    seconds: float,
    then: Callable[[float], None],
    cell: CellSpec = CELL,
) -> Seen:
    """Let the leaders work for so long; `then` is called at each step, to do harm."""
    places = [Place(world, name, cell) for name in REGIONS]
    for name in REGIONS:
        (folder / name).mkdir(exist_ok=True)

    async def run() -> Seen:
        seen = Seen()
        leaders = [asyncio.create_task(leader(world, place, folder).run()) for place in places]
        while now() < seconds:
            then(now())
            writers = [place.name for place in places if place.writes]
            seen.most = max(seen.most, len(writers))
            seen.writers |= {now(): name for name in writers}
            if not writers:
                seen.silent.append(now())
            await asyncio.sleep(STEP)
        for task in leaders:
            task.cancel()
        await asyncio.gather(*leaders, return_exceptions=True)
        return seen

    return simulate(run())
