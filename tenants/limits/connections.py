"""How many connections to its cell a limited tenant's work holds: requests, tasks, websockets and
commands alike, because all of them take theirs from the process' pool.

Guarantees that a process never gives a tenant more than its limit, that asking costs no round trip
(a look into memory), and that within a second the processes of a region hold no more together:
each tells the region's store what it holds, and learns what the others do. Without the store each
process counts by itself (ADR 0010). What a process that was killed had held is free again
LEASE_SECONDS later.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID
from weakref import WeakSet

import redis
from django.conf import settings
from django.db import OperationalError

from tenants.directory import TenantRecord
from tenants.limits.counts import KEEP_SECONDS, today, used_key
from tenants.limits.pulse import Pulse
from tenants.limits.store import Store, store_of
from tenants.once import Once

LEASE_SECONDS = 3.0
# A moment: another request of the tenant may be about to end. Longer, and its waiting requests
# would keep the threads from others.
WAIT_SECONDS = 0.2

_SCRIPT = (Path(__file__).parent / "connections.lua").read_text()


class TooManyConnections(OperationalError):
    """The tenant has as many connections in use as it may have. Nothing was sent."""

    def __init__(self, slug: str, allowed: int) -> None:
        super().__init__(
            f"Tenant {slug!r} has all of its {allowed} connections in use: try again, or raise its "
            "limit `connections`."
        )
        self.allowed = allowed


class Holders:
    """One process' count. A holder that is forgotten (its thread has ended) counts no more."""

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._script = store.client.register_script(_SCRIPT) if store else None
        self._process = secrets.token_hex(8)
        self._changed = threading.Condition()
        self._held: dict[UUID, WeakSet[Any]] = {}
        self._peaks: dict[UUID, int] = {}
        self._others: dict[UUID, int] = {}
        self._pulse = Pulse(self.tell)

    def enter(self, tenant: TenantRecord, holder: Any) -> None:
        """Count one more for a tenant with a limit. Raises TooManyConnections."""
        allowed = tenant.limits.connections
        if allowed is None:
            return
        self._pulse.start()
        with self._changed:
            deadline = None
            # Whoever tells the store meanwhile leaves out who holds nothing.
            while (
                len(held := self._held.setdefault(tenant.id, WeakSet()))
                + self._others.get(tenant.id, 0)
                >= allowed
            ):
                now = time.monotonic()
                deadline = deadline or now + WAIT_SECONDS
                if now >= deadline or not self._changed.wait(deadline - now):
                    raise TooManyConnections(tenant.slug, allowed)
            held.add(holder)
            if len(held) > self._peaks.get(tenant.id, 0):
                self._peaks[tenant.id] = len(held)

    def leave(self, tenant: UUID, holder: Any) -> None:
        with self._changed:
            if held := self._held.get(tenant):
                held.discard(holder)
                self._changed.notify()

    def full(self, tenant: TenantRecord) -> bool:
        """Whether one more would be refused now."""
        allowed = tenant.limits.connections
        if allowed is None:
            return False
        held = len(self._held.get(tenant.id, ()))
        return held + self._others.get(tenant.id, 0) >= allowed

    def tell(self) -> None:
        """The store what is held here, and this process what the others hold."""
        if self._store is None or self._script is None or not self._store.up:
            self._others = {}
            return
        with self._changed:
            now = {tenant: len(held) for tenant, held in self._held.items()}
            peaks, self._peaks = self._peaks, {t: held for t, held in now.items() if held}
            self._held = {t: held for t, held in self._held.items() if held}
        day = today()
        try:
            with self._store.client.pipeline(transaction=False) as pipeline:
                for tenant, held in now.items():
                    self._script(
                        keys=[_holders(tenant), used_key(tenant, day)],
                        args=[
                            self._process,
                            held,
                            peaks.get(tenant, held),
                            int(LEASE_SECONDS * 1000),
                            KEEP_SECONDS,
                        ],
                        client=pipeline,
                    )
                    pipeline.sadd(f"active:{day}", str(tenant))
                found = pipeline.execute()[::2]
        except redis.RedisError:
            self._store.failed()
            self._others = {}
            return
        with self._changed:
            self._others = dict(zip(now, found, strict=True))
            self._changed.notify_all()


@Once
def holders() -> Holders:
    """This process'. A command that belongs to no region counts by itself."""
    region = settings.MERIDIAN_REGION
    return Holders(store_of(region) if region else None)


os.register_at_fork(after_in_child=holders.forget)


def _holders(tenant: UUID) -> str:
    return f"holders:{{{tenant}}}"
