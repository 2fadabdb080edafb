"""Who is near or over a quota, as one process knows it: read once a second, asked from memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from uuid import UUID

import redis

from tenants.limits.counts import Counts
from tenants.limits.pulse import Pulse
from tenants.limits.store import Store, store_of


class Warnings:
    """One region's. What was known stays in force while the store does not answer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counts = Counts(store)
        self._known: Mapping[UUID, str] = {}
        self._reading = threading.Lock()
        self._pulse = Pulse(self.refresh)

    def of(self, tenant: UUID) -> str | None:
        """`rows=83%`; None below 80 %. A second old at most."""
        self._pulse.start()
        return self._known.get(tenant)

    def refresh(self) -> None:
        with self._reading:  # what was read first is not known last
            if self._store.up:
                try:
                    self._known = self._counts.warned()
                except redis.RedisError:
                    self._store.failed()

    def states(self) -> dict[str, int]:
        """How many tenants are `near` and `over`."""
        self._pulse.start()
        shares = [int(text.partition("=")[2].rstrip("%")) for text in self._known.values()]
        over = sum(share >= 100 for share in shares)
        return {"near": len(shares) - over, "over": over}


@cache
def warnings_of(region: str) -> Warnings:
    return Warnings(store_of(region))
