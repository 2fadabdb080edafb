"""One region's agent: read → decide → act → say why, a few times a second.

It needs its own region's PostgreSQL and a majority of acceptors, and nothing of the control
plane. What it does to a lease it says in the log and in `lease.event`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from datetime import datetime, timedelta
from typing import Any

import psycopg

from regions.deployment import AGENT_ROLE, CONTROL_CELL, CONTROL_DATABASE, Deployment
from regions.errors import RegionsError
from regions.failover.decide import Action, Decision, Sight, decide
from regions.failover.handover import hand_over
from regions.failover.journal import Journal, Request
from regions.failover.lease import DRIFT, Held, Leases, PostgresAcceptor, View
from regions.failover.link import Link, Unreachable
from regions.failover.publish import Bell, Publisher
from regions.failover.replica import ReplicaWorker
from regions.failover.reporting import report_forever
from regions.mapfile import replace
from regions.topology import CellSpec, TenancyMode, WritePolicy, parse_topology

log = logging.getLogger("meridian.agent")

TICK_SECONDS = 0.2
PUBLISH_SECONDS = 0.5  # a change that rings no bell is seen anyway
DRAIN_SECONDS = 3.0


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
        self._control = Link(f"control in {region}", dsn, timeout=1.0)
        self._journal = Journal(self._control, region)
        self._publishing = Link(f"control in {region}", dsn, timeout=2.0)
        self._bell = Bell(dsn)
        self._leases = Leases(
            region, self._site.node, dict(self._acceptors()), deployment.lease_ttl_seconds
        )
        self._specs = {CONTROL_CELL: control_cell(deployment)}
        self._workers: dict[str, tuple[ReplicaWorker, asyncio.Task[None]]] = {}
        self._held: dict[str, Held] = {}
        self._open_since: dict[str, float] = {}
        self._views: dict[str, View] = {}
        self._writers: dict[str, dict[str, Any]] = {}
        self._published = ""
        self._background: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        self._follow_specs()
        await asyncio.gather(
            self._lead_forever(),
            self._publish_forever(),
            self._bell.listen_forever(),
            report_forever(self._site.map_dir, self.region, self._replicas),
        )

    def _replicas(self) -> list[ReplicaWorker]:
        return [worker for worker, _ in self._workers.values()]

    # -- the lease loop -------------------------------------------------------------------------

    async def _lead_forever(self) -> None:
        while True:
            started = time.monotonic()
            try:
                await self._lead()
            except (Unreachable, psycopg.Error) as error:
                self._journal.say("agent", f"This region's PostgreSQL does not answer: {error}")
            self._drop_ended()
            await asyncio.sleep(max(0.02, TICK_SECONDS - (time.monotonic() - started)))

    async def _lead(self) -> None:
        """One turn: look at every leased cell, decide, act."""
        leased = [spec for spec in self._specs.values() if spec.policy.leased]
        ((now_here,),) = await self._control.fetch("SELECT clock_timestamp()")
        views = await self._leases.observe([spec.name for spec in leased])
        self._remember(views)
        requests = await self._journal.requests()
        renew, acquire = [], []
        for spec in leased:
            decision = decide(self._sight(spec, views[spec.name], requests))
            if decision.action not in (Action.WAIT, Action.HOLD, Action.RENEW):
                await self._journal.event(spec.name, decision)
            match decision.action:
                case Action.RENEW:
                    renew.append(self._held[spec.name])
                case Action.ACQUIRE:
                    acquire.append(spec.name)
                case Action.STEP_DOWN:
                    del self._held[spec.name]
                case Action.HAND_OVER:
                    self._start_hand_over(spec, requests[spec.name])
        until = now_here + timedelta(seconds=self._ttl * (1 - DRIFT))
        await self._renew(renew, until)
        await self._acquire(acquire, requests)
        self._publish_leases()

    async def _renew(self, due: list[Held], until: datetime) -> None:
        if not due:
            return
        renewed = await self._leases.renew(due)
        self._held |= renewed
        for name, lease in renewed.items():
            worker, _ = self._workers[name]
            if not worker.handing_over:
                await self._journal.attempt(name, worker.open_gate(lease.epoch, until))

    async def _acquire(self, cells: list[str], requests: Mapping[str, Request]) -> None:
        won = await self._leases.acquire(cells)
        for name, lease in won.items():
            self._held[name] = lease
            self._remember_writer(name, self.region, lease.epoch)
            self._spawn(self._promote(name, lease))
            if name in requests:
                await self._journal.settle(requests[name].id, "done")

    async def _promote(self, name: str, lease: Held) -> None:
        """Apply what has arrived, then let writes in: at once if the wait takes too long."""
        worker, _ = self._workers[name]
        patience = time.monotonic() + DRAIN_SECONDS
        try:
            while time.monotonic() < patience and not await worker.drained():
                await asyncio.sleep(0.01)
            held = self._held.get(name)
            if held is None or held.epoch != lease.epoch:
                return
            ((now_here,),) = await self._control.fetch("SELECT clock_timestamp()")
            remaining = held.until - time.monotonic()
            # A fresh clock reading taken before the remainder was computed: never too late.
            await worker.open_gate(lease.epoch, now_here + timedelta(seconds=remaining))
        except (Unreachable, psycopg.Error) as error:
            log.warning("%s: promotion waits for the next renewal: %s", name, error)
        await self._journal.event(
            name, Decision(Action.ACQUIRE, f"{self.region} writes {name} now."), lease.epoch
        )

    def _start_hand_over(self, spec: CellSpec, request: Request) -> None:
        worker, _ = self._workers[spec.name]
        if worker.handing_over:
            return
        worker.handing_over = True

        async def run() -> None:
            try:
                await hand_over(
                    self.deployment,
                    self.region,
                    worker,
                    self._leases,
                    self._held[spec.name],
                    request.target,
                    forced=request.forced,
                )
                self._held.pop(spec.name, None)
                outcome = "done"
            except RegionsError as error:
                outcome = str(error)
            finally:
                worker.handing_over = False
            await self._journal.settle(request.id, outcome)
            await self._journal.event(
                spec.name, Decision(Action.HAND_OVER, f"To {request.target}: {outcome}")
            )

        self._spawn(run())

    def _sight(self, spec: CellSpec, view: View, requests: Mapping[str, Request]) -> Sight:
        now = time.monotonic()
        if view.open:
            self._open_since.setdefault(spec.name, now)
        else:
            self._open_since.pop(spec.name, None)
        since = self._open_since.get(spec.name)
        held = self._held.get(spec.name)
        asked = requests.get(spec.name)
        worker = self._workers.get(spec.name)
        renewed = held.until - self._ttl * (1 - DRIFT) if held else 0.0
        return Sight(
            cell=spec,
            region=self.region,
            ttl=self._ttl,
            writable=worker is not None and worker[0].writable,
            held_for=now - renewed if held else None,
            holder=view.holder,
            open_for=None if since is None else now - since,
            quorum=view.answered >= self._leases.majority,
            successor=view.successor,
            hand_over_to=asked.target if asked and asked.kind == "hand_over" else None,
            asked_to_take=bool(asked and asked.kind == "take" and asked.target == self.region),
        )

    def _drop_ended(self) -> None:
        """Forget leases that have ended by this process' clock; their gates ended before."""
        now = time.monotonic()
        for name in [name for name, lease in self._held.items() if lease.until <= now]:
            del self._held[name]
            self._journal.say(
                name, f"{self.region} lost the lease on {name}: it was not renewed in time."
            )

    # -- what others are told -------------------------------------------------------------------

    def _remember(self, views: dict[str, View]) -> None:
        self._views = views
        for name, view in views.items():
            if view.answered >= self._leases.majority:
                if view.holder is not None:
                    self._remember_writer(name, view.holder, view.epoch)
                elif view.open and view.holder is None and name not in self._held:
                    self._remember_writer(name, None, view.epoch)

    def _remember_writer(self, name: str, writer: str | None, epoch: int) -> None:
        known = self._writers.get(name)
        if known is None or epoch >= known["epoch"]:
            self._writers[name] = {"writer": writer, "epoch": epoch}

    def _publish_leases(self) -> None:
        document = {"region": self.region, "cells": self._writers}
        if self._published != repr(document):
            self._published = repr(document)
            replace(self._site.map_dir / "leases.json", document)

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
        """Have a worker for each replica here, and none for others."""
        here = {name: spec for name, spec in self._specs.items() if self.region in spec.regions}
        for name in [
            name for name in self._workers if here.get(name) != self._workers[name][0].spec
        ]:
            _, task = self._workers.pop(name)
            task.cancel()
        for name, spec in here.items():
            if name not in self._workers:
                worker = ReplicaWorker(self.deployment, self.region, spec)
                self._workers[name] = (worker, asyncio.create_task(worker.run()))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _acceptors(self) -> list[tuple[str, PostgresAcceptor]]:
        timeout = min(0.8, self._ttl / 4)
        return [
            (
                name,
                PostgresAcceptor(
                    Link(
                        f"acceptor in {name}",
                        self.deployment.dsn(
                            name, CONTROL_DATABASE, AGENT_ROLE, seen_from=self.region
                        ),
                        timeout=timeout,
                    )
                ),
            )
            for name in self.deployment.regions
        ]
