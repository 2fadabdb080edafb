"""Lets a request of a limited tenant in, or says why not and when to come back.

Guarantees one exchange with the region's store, counted over all processes of the region; slots
of a process that was killed are free again LEASE_SECONDS later. Without the store each process
counts by itself (ADR 0010): never unlimited, and never closed.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from uuid import UUID

import redis

from tenants.directory import TenantRecord
from tenants.limits.bucket import draw
from tenants.limits.pulse import Pulse
from tenants.limits.store import Store
from tenants.limits.values import Limits

LEASE_SECONDS = 3.0
MINUTE = 60_000_000  # microseconds
SECOND = 1_000_000
REMEMBERED = 10_000  # tenants whose buckets a process keeps for itself

_SCRIPT = (Path(__file__).parent / "admission.lua").read_text()


class Outcome(IntEnum):
    """As the script answers."""

    ADMITTED = 0
    TOO_OFTEN = 1
    TOO_MANY = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """`left`: how many more may come now; `wait` and `full` in seconds. `shared`: whether the
    whole region counted, or this process alone."""

    outcome: Outcome
    left: int
    wait: float
    full: float
    lease: str
    shared: bool


class Gate:
    """One region's admission, as one process sees it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._script = store.client.register_script(_SCRIPT)
        self._open: dict[str, UUID] = {}
        self._alone = threading.Lock()
        self._due: dict[UUID, int] = {}
        self._pulse = Pulse(self.renew)

    def enter(self, tenant: TenantRecord) -> Verdict:
        """Whoever is admitted must `leave` again."""
        limits = tenant.limits
        lease = secrets.token_hex(8) if limits.concurrent_requests else ""
        verdict = self._ask(tenant.id, limits, lease) if self._store.up else None
        if verdict is None:
            with self._alone:
                verdict = self._decide_alone(tenant.id, limits, lease)
                self._note(verdict, tenant.id)
        else:
            self._note(verdict, tenant.id)
        return verdict

    def leave(self, verdict: Verdict) -> None:
        """Free the slot; one that can't be freed now is free when its lease ends."""
        tenant = self._open.pop(verdict.lease, None)
        if tenant is None or not verdict.shared or not self._store.up:
            return
        try:
            self._store.client.zrem(_flight(tenant), verdict.lease)
        except redis.RedisError:
            self._store.failed()

    def _note(self, verdict: Verdict, tenant: UUID) -> None:
        if verdict.lease and verdict.outcome is Outcome.ADMITTED:
            self._open[verdict.lease] = tenant
            self._pulse.start()

    def renew(self) -> None:
        """Keep the slots of requests that take long. One that has ended meanwhile stays so."""
        open_now = list(self._open.items())
        if not open_now or not self._store.up:
            return
        try:
            seconds, microseconds = self._store.client.time()
            until = seconds * SECOND + microseconds + int(LEASE_SECONDS * SECOND)
            with self._store.client.pipeline(transaction=False) as pipeline:
                for lease, tenant in open_now:
                    pipeline.zadd(_flight(tenant), {lease: until}, xx=True)
                    pipeline.pexpire(_flight(tenant), int(LEASE_SECONDS * 1000))
                pipeline.execute()
        except redis.RedisError:
            self._store.failed()

    def _ask(self, tenant: UUID, limits: Limits, lease: str) -> Verdict | None:
        try:
            outcome, wait, left, full = self._script(
                keys=[f"rate:{{{tenant}}}", _flight(tenant)],
                args=[
                    _interval(limits),
                    limits.burst_size,
                    limits.concurrent_requests or 0,
                    lease,
                    int(LEASE_SECONDS * 1000),
                ],
            )
        except redis.RedisError:
            self._store.failed()
            return None
        return Verdict(Outcome(outcome), left, wait / SECOND, full / SECOND, lease, True)

    def _decide_alone(self, tenant: UUID, limits: Limits, lease: str) -> Verdict:
        interval, now = _interval(limits), time.monotonic_ns() // 1000
        most = limits.concurrent_requests
        if most and list(self._open.values()).count(tenant) >= most:
            return Verdict(Outcome.TOO_MANY, 0, 0.0, 0.0, lease, False)
        if not interval:
            return Verdict(Outcome.ADMITTED, 0, 0.0, 0.0, lease, False)
        drawn = draw(self._due.get(tenant, 0), now, interval=interval, burst=limits.burst_size)
        if len(self._due) > REMEMBERED:
            self._due.clear()
        self._due[tenant] = drawn.due
        outcome = Outcome.ADMITTED if drawn.admitted else Outcome.TOO_OFTEN
        wait, full = drawn.wait / SECOND, drawn.full / SECOND
        return Verdict(outcome, drawn.left, wait, full, lease, False)


def _flight(tenant: UUID) -> str:
    return f"flight:{{{tenant}}}"


def _interval(limits: Limits) -> int:
    """Microseconds a request; 0: any rate."""
    return max(1, MINUTE // limits.requests_per_minute) if limits.requests_per_minute else 0
