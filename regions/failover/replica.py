"""One cell's replica in this region: applies what arrives, beats, works the write gate, and is
compared with the others from time to time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any, NoReturn

import psycopg

from regions.deployment import AGENT_ROLE, Deployment
from regions.failover.collecting import Collector
from regions.failover.keeping import Kept, Tell, keep
from regions.failover.link import Link, Unreachable
from regions.failover.mending import Mender
from regions.failover.reseeding import Reseeder
from regions.failover.throttling import Throttle
from regions.failover.verifying import Verifier
from regions.failover.vetting import Vetter
from regions.replication import apply, escrow, health, housekeeping, letters
from regions.replication.session import Session, open_session
from regions.replication.waking import Waker
from regions.topology import CellSpec

log = logging.getLogger("meridian.replica")

BEAT_SECONDS = 1.0
IDLE_BEATS = 3  # where nothing was written since the last heartbeat, only each third one is made
RETRY_SECONDS = 0.25
HOUSEKEEPING_SECONDS = 10.0
DEAD_LETTER_SECONDS = 5.0
WANTS_SECONDS = 3.0  # until those are tried again that could not be answered
DEAD_LETTER_SHARE = 0.25  # seconds of them, after which what has arrived has its turn
# Not waited for: a crash leaves a gate that closes sooner, and each flush of the log wakes whoever
# sends it, for every cell of the server.
_OPEN = """
UPDATE fabric.gate SET epoch = %s, valid_until = %s
 WHERE (epoch < %s OR (epoch = %s AND valid_until < %s))
   AND set_config('synchronous_commit', 'off', true) = 'off'
"""
_FOR_EVERY_REGION = "UPDATE fabric.gate SET valid_until = 'infinity'"


def until_pulse(now: float) -> float:
    """Seconds until the next pulse. All replicas of a server have theirs at the same moments: each
    flush of its log wakes whoever sends it to a peer, and of many at once one flush is made."""
    left = BEAT_SECONDS - now % BEAT_SECONDS
    return left if left > BEAT_SECONDS / 10 else left + BEAT_SECONDS


def pulse_of_all(now: float) -> bool:
    """Whether at this pulse those beat, too, in which nothing was written."""
    return round(now / BEAT_SECONDS) % IDLE_BEATS == 0


class ReplicaWorker:
    """Runs until cancelled."""

    def __init__(
        self,
        deployment: Deployment,
        region: str,
        spec: CellSpec,
        *,
        tell: Tell | None = None,
        works_gate: bool = False,
    ) -> None:
        """`tell` is told what operators should know of. `works_gate`: where every region writes,
        the gate is opened for good, and elsewhere not left so."""
        self.spec = spec
        self._works_gate = works_gate
        self._node = deployment.region(region).node
        self._unlooked_at = f"{spec.name} in {region} was not looked at since its server started."
        self._dsn = deployment.dsn(region, spec.database, AGENT_ROLE)
        self._steer = Link(f"{spec.name} in {region}", self._dsn, timeout=1.0)
        self._origins = [deployment.region(name).node for name in spec.regions if name != region]
        self._watch = Link(f"{spec.name} in {region}", self._dsn, timeout=2.0)
        self._kept = kept = Kept(deployment, region, spec, self._watch, tell)
        self._vetter = Vetter(kept)
        self._reseeder = Reseeder(kept)
        together = (Throttle(kept), self._reseeder, Verifier(kept), Mender(kept))
        self._keepers = (Collector(kept), *(together if kept.peers else ()))
        self._beat_at: float | None = None
        self._beat: int | None = None
        self._idle = 0
        self.handing_over = False

    @property
    def writable(self) -> bool:
        """Whether a real write went through lately: a ping would not notice a full disk."""
        return self._beat_at is not None and time.monotonic() - self._beat_at < 3 * BEAT_SECONDS

    async def run(self) -> None:
        """Raises ExceptionGroup if a part fails of what it does not foresee; the others end, too:
        a replica is looked after whole or, for whoever waits, visibly not."""
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._beat_forever())
            parts.create_task(self._apply_forever())
            parts.create_task(self._vetter.run())
            parts.create_task(keep(self._kept, self._keepers))

    async def close(self) -> None:
        await self._steer.close()
        await self._watch.close()
        await self._reseeder.close()

    async def open_gate(self, epoch: int, until: datetime) -> None:
        """Let transactions commit until `until`, a time on this database server's clock; not while
        the cell is handed over."""
        if self.handing_over:
            return
        await self._steer.fetch(_OPEN, (epoch, until, epoch, epoch, until))

    async def close_gate(self) -> int:
        """Stop all commits; returns the heartbeat that comes after the last one in the log.

        The lock waits for every transaction that has passed the gate, and is bounded: one that
        sits idle must not keep a switchover waiting. Raises Unreachable.
        """

        async def work(connection: psycopg.AsyncConnection[tuple[int]]) -> int:
            async with connection.transaction():
                await connection.execute("SET LOCAL lock_timeout = '900ms'")
                await connection.execute("LOCK TABLE fabric.gate IN ACCESS EXCLUSIVE MODE")
                await connection.execute("UPDATE fabric.gate SET valid_until = '-infinity'")
                cursor = await connection.execute(housekeeping.BEAT, (self._node,))
                row = await cursor.fetchone()
            if row is None:
                raise Unreachable(self._unlooked_at)
            return row[0]

        return await self._steer.use(work, timeout=1.5)

    async def shut(self) -> None:
        """Stop commits without waiting for those in flight: the lease is lost anyway."""
        await self._steer.fetch("UPDATE fabric.gate SET valid_until = '-infinity'")

    async def drained(self) -> bool:
        """Whether everything that has arrived is applied."""
        rows = await self._steer.fetch(housekeeping.BACKLOG)
        return bool(rows[0][0] == 0)

    async def health(self) -> dict[str, Any]:
        """The document of `regions.replication.health`. Raises Unreachable."""
        ((found,),) = await self._watch.fetch(health.HEALTH)
        return health.document(self.spec, found)

    async def beat(self) -> int:
        """Write a heartbeat; returns its number in the log. Raises Unreachable."""
        rows = await self._steer.fetch(housekeeping.BEAT, (self._node,))
        if not rows:
            self._missed()
        return int(rows[0][0])

    async def _beat_forever(self) -> None:
        while True:
            try:
                await self._pulse()
                pause = until_pulse(time.monotonic())
            except (Unreachable, psycopg.Error, OSError) as error:
                log.warning("%s: heartbeat failed: %s", self.spec.name, error)
                pause = RETRY_SECONDS
            await asyncio.sleep(pause)

    async def _pulse(self) -> None:
        """See that the replica is well, and write a heartbeat if it is time; what it costs to know
        that nothing was written is little."""
        due = self._idle + 1 >= IDLE_BEATS or pulse_of_all(time.monotonic())
        ((beat, trusted, barred, for_good),) = await self._steer.fetch(
            housekeeping.PULSE, {"node": self._node, "last": self._beat, "due": due}
        )
        if not trusted:
            self._missed()
        self._beat_at = None if barred else time.monotonic()
        if beat is None:
            self._idle += 1
        else:
            self._idle, self._beat = 0, beat
            await self._vetter.note(beat)
        if self._works_gate and for_good == self.spec.policy.leased:
            # A cell's policy may change at any time, and a hand-over may have closed the gate.
            match = housekeeping.UNDER_A_LEASE if self.spec.policy.leased else _FOR_EVERY_REGION
            await self._steer.fetch(match)

    def _missed(self) -> NoReturn:
        self._beat_at = None
        self._vetter.call()
        raise Unreachable(self._unlooked_at)

    async def _apply_forever(self) -> None:
        while True:
            try:
                session = await open_session(self._dsn)
                try:
                    waker = Waker(session)
                    await waker.start()
                    await self._apply_on(session, waker)
                finally:
                    await session.close()
            except psycopg.Error as error:
                log.warning("%s: applying paused: %s", self.spec.name, error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _apply_on(self, session: Session, waker: Waker) -> None:
        """As long as a chore has something to do it is called again at once, between what arrives;
        so is who answers wants when something came: it may be one."""
        chores: dict[Callable[[Session], Awaitable[int]], float] = {
            housekeeping.prune: HOUSEKEEPING_SECONDS,
            escrow.answer: WANTS_SECONDS,
            partial(letters.retry, seconds=DEAD_LETTER_SHARE): DEAD_LETTER_SECONDS,
        }
        due = dict.fromkeys(chores, 0.0)
        while True:
            busy = False
            rows = 0
            for origin in self._origins:
                step = await apply.step(session, origin)
                if step.parked:
                    log.error("%s: %d changes parked", self.spec.name, step.parked)
                busy = busy or step.more
                rows += step.rows
            if rows:
                due[escrow.answer] = 0.0
            for chore, every in chores.items():
                if time.monotonic() >= due[chore]:
                    done = await chore(session)
                    due[chore] = time.monotonic() + (0.0 if done else every)
                    busy = busy or bool(done)
            await waker.rest(rows=rows, busy=busy)
