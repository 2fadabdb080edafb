"""Where regions are at work in simulated time: how far from each other, and what befalls them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar, cast
from uuid import UUID, uuid4

from regions.failover.acceptors import Accepted
from regions.failover.journal import Request
from regions.failover.link import Connection, Link
from regions.topology import CellSpec, TenancyMode, WritePolicy
from tests.regions.failover.simulated import Vote
from tests.regions.failover.simulated_etcd import Store

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
    dies: str = ""  # at which stage of a hand-over its agent is killed: begun, fenced, let go
    back: float = 0.0  # so many seconds later it is started again
    killed: set[str] = field(default_factory=set)
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


def wish(
    target: str, kind: str = "hand_over", *, by: str = "ann", at: datetime = MONDAY
) -> Request:
    return Request(uuid4(), CELL.name, target, kind, forced=False, by=by, at=at)


def now() -> float:
    return asyncio.get_running_loop().time()


def wall() -> datetime:
    return MONDAY + timedelta(seconds=now())
