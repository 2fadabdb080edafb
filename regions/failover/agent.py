"""One region's agent: read → decide → act → say why, a few times a second.

It needs its own region's PostgreSQL and a majority of acceptors, and nothing of the control
plane. What it does to a lease it says in the log and in `lease.event`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from datetime import timedelta
from functools import partial

import psycopg

from regions.deployment import AGENT_ROLE, CONTROL_CELL, CONTROL_DATABASE, Deployment
from regions.errors import RegionsError
from regions.failover.acceptors import Acceptor, PostgresAcceptor
from regions.failover.ahead import ahead
from regions.failover.etcd import Etcd
from regions.failover.etcd_acceptor import EtcdAcceptor
from regions.failover.forgetting import forget_forever
from regions.failover.handover import hand_over
from regions.failover.journal import Journal
from regions.failover.leading import Leader
from regions.failover.lease import Held, Leases
from regions.failover.lease_map import LeaseMap
from regions.failover.link import Link
from regions.failover.paging import Pager
from regions.failover.publish import Bell, Publisher
from regions.failover.reach import Reach
from regions.failover.replica import ReplicaWorker
from regions.failover.reporting import report_forever
from regions.failover.surroundings import Renew, ServerClock, server_clock_of
from regions.topology import CellSpec, TenancyMode, WritePolicy, parse_topology

log = logging.getLogger("meridian.agent")

# A row may find room in old pages when the disk is full: a file of its own does not. It is gone
# when the statement ends.
_CLOCK_AND_ROOM = "SELECT clock_timestamp(), pg_export_snapshot()"
PUBLISH_SECONDS = 0.5  # a change that rings no bell is seen anyway
AGAIN_SECONDS = 1.0


def control_cell(deployment: Deployment) -> CellSpec:
    """Cell zero: active-passive, in every region."""
    return CellSpec(
        CONTROL_CELL,
        TenancyMode.CONTROL,
        WritePolicy.ACTIVE_PASSIVE,
        tuple(deployment.regions),
    )


class Agent:
    """Runs one region until cancelled."""

    def __init__(self, deployment: Deployment, region: str) -> None:
        self.deployment = deployment
        self.region = region
        self._site = deployment.region(region)
        self._ttl = deployment.lease_ttl_seconds
        dsn = deployment.dsn(region, CONTROL_DATABASE, AGENT_ROLE)
        self._journal = Journal(Link(f"control in {region}", dsn, timeout=1.0), region)
        self._publishing = Link(f"control in {region}", dsn, timeout=2.0)
        self._forgetting = Link(f"control in {region}", dsn, timeout=5.0)
        self._bell = Bell(dsn)
        self._clock = Link(f"PostgreSQL in {region}", dsn, timeout=self._ttl / 4)
        webs = {site.name: site.web_url for site in deployment.regions.values()}
        self._reach = Reach(region, webs)
        lease_map = LeaseMap(self._site.map_dir, region)
        acceptors = self._acceptors(lease_map.epochs())
        self._leases = Leases(region, self._site.node, acceptors, self._ttl)
        self._specs = {CONTROL_CELL: control_cell(deployment)}
        self._workers: dict[str, tuple[ReplicaWorker, asyncio.Task[None]]] = {}
        self._leader = Leader(
            region,
            self._leases,
            self,
            self._journal,
            lease_map,
            ttl=self._ttl,
            chance=random.SystemRandom().random,
        )
        self._pager = Pager(
            deployment.pager,
            region,
            self._journal,
            specs=self.leased,
            views=lambda: self._leader.views,
            reached=lambda: self.reached,
            acceptors=len(acceptors),
        )

    async def run(self) -> None:
        self._follow_specs()
        await asyncio.gather(
            self._leader.run(),
            self._publish_forever(),
            self._reach.run(),
            self._pager.run(),
            self._bell.listen_forever(),
            forget_forever(self._forgetting, timedelta(days=self.deployment.journal_days)),
            report_forever(self._site.map_dir, self.region, self._replicas),
        )

    def _replicas(self) -> list[ReplicaWorker]:
        return [worker for worker, _ in self._workers.values()]

    # -- what leading needs -----------------------------------------------------------------------

    def leased(self) -> list[CellSpec]:
        return [spec for spec in self._specs.values() if spec.policy.leased]

    def replica(self, cell: str) -> ReplicaWorker | None:
        worker, _ = self._workers.get(cell, (None, None))
        return worker

    @property
    def reached(self) -> frozenset[str]:
        return self._reach.reached

    async def server_clock(self) -> ServerClock:
        ((reading, _),) = await self._clock.fetch(_CLOCK_AND_ROOM)
        return server_clock_of(reading, time.monotonic())

    async def ahead(self, cell: str, of: str) -> str | None:
        return await ahead(self.deployment, self._specs[cell], self.region, of)

    async def hand_over(self, held: Held, target: str, renew: Renew, *, forced: bool) -> None:
        worker, _ = self._workers[held.cell]
        try:
            await hand_over(
                self.deployment,
                self.region,
                worker,
                self._leases,
                held,
                target,
                renew,
                forced=forced,
            )
        finally:
            worker.handing_over = False

    # -- what others are told -------------------------------------------------------------------

    async def _publish_forever(self) -> None:
        publisher = Publisher(self._publishing, self._site.map_dir)
        while True:
            try:
                await publisher.publish()
                if "topology" in publisher.documents:
                    topology = publisher.documents["topology"]
                    self._specs = {
                        CONTROL_CELL: control_cell(self.deployment),
                        **parse_topology(topology, self.deployment.regions).cells,
                    }
                self._follow_specs()
            except (RegionsError, psycopg.Error, OSError) as error:
                self._journal.say("publish", f"The map is not published: {error}")
                await asyncio.sleep(PUBLISH_SECONDS)
            await self._bell.wait(PUBLISH_SECONDS)

    def _follow_specs(self) -> None:
        """Have a worker for each replica here, and none for others. One whose cell has got
        another policy goes on: without it the writer would lose its lease."""
        here = {name: spec for name, spec in self._specs.items() if self.region in spec.regions}
        for name in [
            name
            for name, (worker, _) in self._workers.items()
            if name not in here or here[name].regions != worker.spec.regions
        ]:
            _, task = self._workers.pop(name)
            task.cancel()
        for name, spec in here.items():
            if name in self._workers:
                self._workers[name][0].spec = spec
                continue
            worker = ReplicaWorker(
                self.deployment,
                self.region,
                spec,
                tell=partial(self._journal.reseed, name),
                works_gate=True,
            )
            self._workers[name] = (worker, asyncio.create_task(self._work(worker)))

    async def _work(self, worker: ReplicaWorker) -> None:
        """Begun again after what nobody foresaw: a cell needs all of it, and the others go on."""
        try:
            while True:
                try:
                    await worker.run()
                except Exception:
                    log.exception("The work for %s failed, and begins again", worker.spec.name)
                await asyncio.sleep(AGAIN_SECONDS)
        finally:
            await worker.close()

    def _acceptors(self, epochs: Mapping[str, int]) -> dict[str, Acceptor]:
        if self.deployment.lease_store.etcd:
            etcd = Etcd(self.deployment.lease_store, timeout=self._ttl / 2)
            return {"etcd": EtcdAcceptor(etcd, self.region, self._ttl, epochs=epochs)}
        return {
            name: PostgresAcceptor(self._vote(name), self._vote(name))
            for name in self.deployment.regions
        }

    def _vote(self, region: str) -> Link:
        """A way to one acceptor. A late answer counts as long as a lease can wait for it."""
        dsn = self.deployment.dsn(region, CONTROL_DATABASE, AGENT_ROLE, seen_from=self.region)
        return Link(f"acceptor in {region}", dsn, timeout=self._ttl / 2)
