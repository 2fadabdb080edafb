"""What keeping 1,000 leases costs: an agent's leading, over real acceptors, with every lease held.

The acceptors are three databases of one PostgreSQL. Not in it: what a replica costs that its agent
works on, above all the gate in its database, one short statement a second.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable
from datetime import datetime
from pathlib import Path

import psutil
from django.db import connections
from psycopg import sql

from bench.frame import Bench
from regions.deployment import AGENT_ROLE, CONTROL_DATABASE
from regions.failover.acceptors import PostgresAcceptor
from regions.failover.decide import Decision
from regions.failover.heap import seldom_collected
from regions.failover.journal import Request
from regions.failover.leading import Leader
from regions.failover.lease import Held, Leases
from regions.failover.lease_map import LeaseMap
from regions.failover.link import Link
from regions.failover.surroundings import Renew, ServerClock, server_clock_of
from regions.topology import CellSpec, TenancyMode, WritePolicy

KEYS = ("failover.lease_renew_1000_cpu",)

CELLS = 1000
REGIONS = ("a", "b", "c")
TTL_SECONDS = 3.0
WINDOW_SECONDS = 10.0
RUNS = 20


class Place:
    """A region with a replica of each cell, all of them well; nobody asks it for anything."""

    writable = True
    handing_over = False
    reached = frozenset({"a"})

    def __init__(self, clock: Link) -> None:
        self._clock = clock
        self.opened = 0
        self._specs = [
            CellSpec(f"cell-{n:04}", TenancyMode.DEDICATED, WritePolicy.ACTIVE_PASSIVE, REGIONS)
            for n in range(CELLS)
        ]

    def leased(self) -> list[CellSpec]:
        return self._specs

    def replica(self, cell: str) -> Place:
        return self

    async def server_clock(self) -> ServerClock:
        ((reading,),) = await self._clock.fetch("SELECT clock_timestamp()")
        return server_clock_of(reading, time.monotonic())

    async def open_gate(self, epoch: int, until: datetime) -> None:
        self.opened += 1

    async def drained(self) -> bool:
        return True

    async def ahead(self, cell: str, of: str) -> str | None:
        return None

    async def hand_over(self, held: Held, target: str, renew: Renew, *, forced: bool) -> None: ...
    async def begin(self, request: Request) -> bool: ...
    async def settle(self, request: Request, outcome: str) -> None: ...
    async def event(self, cell: str, decision: Decision, epoch: int | None = None) -> None: ...

    async def requests(self) -> list[Request]:
        await self._clock.fetch("SELECT id FROM lease.request WHERE outcome IS NULL")
        return []

    def say(self, about: str, sentence: str) -> bool:
        return False

    async def attempt(self, about: str, call: Awaitable[object]) -> None:
        await call


def run(bench: Bench) -> None:
    copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    with bench.region.administrator() as admin:
        connections.close_all()  # of the template
        for name in REGIONS:
            names = (f"acceptor_{name}", CONTROL_DATABASE)
            admin.execute(copy.format(*map(sql.Identifier, names)))
    with tempfile.TemporaryDirectory(prefix="meridian-bench-") as folder:
        shares = asyncio.run(_keep(bench, Path(folder)))
    agent = [agent for agent, _ in shares]
    servers = sorted(server for _, server in shares)[len(shares) // 2]
    bench.record(
        KEYS[0],
        agent,
        unit="cores",
        target=0.05,
        better="lower",
        against=f"the agent's share of a core, {CELLS} leases of 3 s; the three acceptors together"
        f" take {servers:.3f}",
    )


async def _keep(bench: Bench, folder: Path) -> list[tuple[float, float]]:
    """In each run the agent's share of a core, and PostgreSQL's."""

    def link(database: str) -> Link:
        dsn = bench.region.deployment.dsn(bench.region.name, database, AGENT_ROLE)
        return Link(database, dsn, timeout=TTL_SECONDS / 2)

    place = Place(link(CONTROL_DATABASE))
    acceptors = {
        name: PostgresAcceptor(link(f"acceptor_{name}"), link(f"acceptor_{name}"))
        for name in REGIONS
    }
    leases = Leases(REGIONS[0], 1, acceptors, TTL_SECONDS)
    leader = Leader(
        REGIONS[0],
        leases,
        place,
        place,
        LeaseMap(folder, REGIONS[0]),
        ttl=TTL_SECONDS,
        chance=random.random,
    )
    leading = asyncio.create_task(leader.run())
    while len(leader.held) < CELLS:
        await asyncio.sleep(0.1)
    await asyncio.sleep(3 * TTL_SECONDS)
    seldom_collected()  # as an agent's process does; what Django has made here is none of its own
    shares = []
    for _ in range(bench.runs(RUNS)):
        servers = _postgres(bench)
        cpu, began = time.process_time(), time.monotonic()
        place.opened = 0
        await asyncio.sleep(WINDOW_SECONDS)
        own, took = time.process_time() - cpu, time.monotonic() - began
        shares.append((own / took, (_postgres(bench) - servers) / took))
        assert len(leader.held) == CELLS, "leases were lost meanwhile"
        assert place.opened >= CELLS * WINDOW_SECONDS / TTL_SECONDS, "they were not renewed"
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)
    return shares


def _postgres(bench: Bench) -> float:
    """The CPU seconds that the server's processes have used."""
    data = bench.region.plan.pgdata(bench.region.name)
    server = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
    times = [one.cpu_times() for one in (server, *server.children())]
    return sum(one.user + one.system for one in times)
