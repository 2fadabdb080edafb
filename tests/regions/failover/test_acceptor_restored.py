"""An acceptor whose PostgreSQL was put back on an old backup brings no epoch back: it has no vote
until it knows what the others know. (With etcd: `test_etcd_fails.py`.)"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import psycopg

from regions import cells
from regions.deployment import Deployment
from regions.failover.acceptors import Accepted, Acceptor
from regions.failover.lease import Held, Leases
from regions.failover.link import Unreachable
from regions.replication import rewound
from regions.topology import CellSpec
from tests.regions.failover.stores import Closing, in_postgres

TTL = 600.0
CELL = "rewound"


class Lost:
    """An acceptor that does not answer."""

    async def state(self) -> list[Accepted]:
        raise Unreachable("lost")

    async def prepare(self, ballots: Mapping[str, int]) -> dict[str, tuple[bool, Accepted]]:
        raise Unreachable("lost")

    async def accept(
        self, proposals: Mapping[str, tuple[int, int]], holder: str, ttl: float
    ) -> set[str]:
        raise Unreachable("lost")

    async def release(
        self, cell: str, holder: str, epoch: int, successor: str | None, reserved: float
    ) -> None:
        raise Unreachable("lost")


async def got(leases: Leases) -> Held:
    """A first try may only teach it how high others' ballots are."""
    while not (won := await leases.acquire([CELL])):
        await asyncio.sleep(0.05)
    return won[CELL]


def backup(session: psycopg.Connection[Any]) -> None:
    session.execute("CREATE TABLE public.old_acceptor AS SELECT * FROM lease.acceptor")


def put_back(session: psycopg.Connection[Any]) -> None:
    """As a server that was started on the backup: it is not known yet what it has forgotten."""
    session.execute(
        "DELETE FROM lease.acceptor; INSERT INTO lease.acceptor SELECT * FROM public.old_acceptor;"
        "UPDATE fabric.gate SET trusted_start = '-infinity'"
    )


def look_at(deployment: Deployment, spec: CellSpec, region: str) -> None:
    rewound.learn_promises(deployment, spec, region)
    with cells.administrator(deployment, region, spec.database) as session:
        session.execute("UPDATE fabric.gate SET trusted_start = pg_postmaster_start_time()")


def test_no_epoch_comes_back_with_an_acceptor_that_was_restored(deployment: Deployment) -> None:
    with in_postgres(deployment) as store:
        spec = store.spec
        assert spec is not None
        old, lost, _ = spec.regions
        closing: Closing = []

        async def test() -> None:
            ways: dict[str, Acceptor] = dict(store.ways("a", TTL, closing))
            a = Leases("a", 1, ways, TTL)
            first = await got(a)
            await a.release(first, successor=None, reserved=0)
            with cells.administrator(deployment, old, spec.database) as session:
                backup(session)
            # It votes for no more than the backup has; the other two go on.
            b = Leases("b", 2, {**store.ways("b", TTL, closing), old: Lost()}, TTL)
            second = await got(b)
            await b.release(second, successor=None, reserved=0)
            third = await got(b)
            await b.release(third, successor=None, reserved=0)
            with cells.administrator(deployment, old, spec.database) as session:
                put_back(session)
            without = Leases("c", 3, {**store.ways("c", TTL, closing), lost: Lost()}, TTL)
            for _ in range(3):
                assert not await without.acquire([CELL])
            await asyncio.to_thread(look_at, deployment, spec, old)
            last = await got(without)
            assert first.epoch < second.epoch < third.epoch < last.epoch
            for close in closing:
                await close()

        asyncio.run(test())
