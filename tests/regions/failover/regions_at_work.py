"""Three regions' leaders in simulated time, over the real `Link` to made-up acceptors."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from regions.failover.decide import Decision
from regions.failover.etcd_acceptor import EtcdAcceptor
from regions.failover.journal import Request
from regions.failover.leading import Leader
from regions.failover.lease import Held, Leases, View
from regions.failover.lease_map import LeaseMap
from regions.failover.link import Unreachable
from regions.failover.surroundings import Renew, ServerClock, server_clock_of
from regions.topology import CellSpec
from tests.regions.failover.simulated import simulate
from tests.regions.failover.simulated_etcd import Way
from tests.regions.failover.world import CELL, MONDAY, REGIONS, TTL, Far, World, now, wall


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
    killed: asyncio.Event = field(default_factory=asyncio.Event)

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
            await self._reaches("fenced")
            await self.leases.release(held, successor=target, reserved=TTL)
            await self._reaches("let go")
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
        await self._reaches("begun")
        return request in self.world.asked

    async def _reaches(self, stage: str) -> None:
        """Where it is killed nothing more is done."""
        if stage == self.world.dies and self.name not in self.world.killed:
            self.world.killed.add(self.name)
            self.killed.set()
            await asyncio.Event().wait()

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

    async def lives(place: Place) -> None:
        agent = leader(world, place, folder)
        process = asyncio.create_task(agent.run())
        try:
            await place.killed.wait()
        finally:
            for task in (process, *agent._background):
                task.cancel()
        await asyncio.sleep(world.back)
        agent._map._writing.shutdown()  # a thread's time is not simulated
        await leader(world, place, folder).run()

    async def run() -> Seen:
        seen = Seen()
        leaders = [asyncio.create_task(lives(place)) for place in places]
        while now() < seconds:
            then(now())
            for place in places:
                if place.name in world.killed:
                    place.killed.set()
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
