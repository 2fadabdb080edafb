"""Real acceptors of leases, one store after the other behind the same protocol."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from regions import cells
from regions.deployment import AGENT_ROLE, Deployment, LeaseStore
from regions.failover.acceptors import Acceptor, PostgresAcceptor
from regions.failover.etcd import Etcd
from regions.failover.etcd_acceptor import EtcdAcceptor
from regions.failover.lease import Leases
from regions.failover.link import Link
from regions.replication import install
from regions.topology import CellSpec, TenancyMode, WritePolicy
from tests.etcd import Cluster

PATIENCE = 120.0
Closing = list[Callable[[], Awaitable[None]]]


@dataclass
class Store:
    """`ways(proposer, ttl, closing)`: one proposer's to the acceptors. `spec`: of the
    databases in which the regions' PostgreSQL keep their votes, if they are the acceptors."""

    ways: Callable[[str, float, Closing], Mapping[str, Acceptor]]
    spec: CellSpec | None = None

    def run(self, test: Callable[..., Coroutine[Any, Any, None]], ttl: float) -> None:
        """The test, with the proposers of regions `a` and `b`."""

        async def run() -> None:
            closing: Closing = []
            proposers = [
                Leases(name, node, self.ways(name, ttl, closing), ttl)
                for node, name in enumerate("ab", 1)
            ]
            try:
                for proposer in proposers:
                    await proposer.observe([])
                await test(*proposers)
            finally:
                for close in closing:
                    await close()

        asyncio.run(run())


@contextmanager
def in_etcd(cluster: Cluster, timeout: float = PATIENCE) -> Iterator[Store]:
    """One acceptor: the cluster. `timeout`: seconds until a call is given up."""

    def ways(proposer: str, ttl: float, closing: Closing) -> dict[str, Acceptor]:
        etcd = Etcd(LeaseStore(tuple(cluster.urls)), timeout=timeout)
        closing.append(etcd.close)
        return {"etcd": EtcdAcceptor(etcd, proposer, ttl, clock=LaterThanFirst(ttl))}

    yield Store(ways)


class LaterThanFirst:
    """A clock that has gone on by `seconds` after its first reading: who has just begun waits as
    long as leases that it can't know may live, and no test has that time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._first = True

    def __call__(self) -> float:
        first, self._first = self._first, False
        return time.monotonic() + (0.0 if first else self._seconds)


@contextmanager
def in_postgres(deployment: Deployment) -> Iterator[Store]:
    """An acceptor in each region's PostgreSQL; whoever asks hears all of them, however late one is
    on a busy machine."""
    spec = CellSpec(
        "acceptors", TenancyMode.DEDICATED, WritePolicy.ACTIVE_PASSIVE, tuple(deployment.regions)
    )
    for name in spec.regions:
        cells.prepare_region(deployment, name)
    cells.create_databases(deployment, spec)
    for name in spec.regions:
        with cells.administrator(deployment, name, spec.database) as admin:
            install.become_owner(admin)
            install.install_leases(admin)

    def ways(proposer: str, ttl: float, closing: Closing) -> dict[str, Acceptor]:
        found: dict[str, Acceptor] = {}
        for name in spec.regions:
            dsn = deployment.dsn(name, spec.database, AGENT_ROLE)
            look, vote = (Link(f"acceptor in {name}", dsn, timeout=PATIENCE) for _ in range(2))
            closing += [look.close, vote.close]
            found[name] = PostgresAcceptor(look, vote)
        return found

    with patch("regions.failover.lease.STRAGGLERS", PATIENCE):
        yield Store(ways, spec)
    cells.drop_databases(deployment, spec)
