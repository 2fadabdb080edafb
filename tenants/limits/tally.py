"""Counts requests in a process, and brings the counts to the region's store once a second.

Guarantees that counting costs a request no more than an append, and that counts wait, by tenant,
while the store does not answer; a process that is killed loses its last second.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from functools import cache
from uuid import UUID

import redis

from tenants.limits.counts import Counts, Done
from tenants.limits.pulse import Pulse
from tenants.limits.store import Store, store_of


class Tally:
    """One process' counts for one region."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counts = Counts(store)
        self._requests: deque[tuple[UUID, float, bool]] = deque()
        self._waiting: dict[UUID, Done] = {}
        self._flushing = threading.Lock()
        self._pulse = Pulse(self.flush)

    def count(self, tenant: UUID, seconds: float, *, refused: bool) -> None:
        self._requests.append((tenant, seconds, refused))
        waiting = len(self._requests)
        if waiting < 8 or not waiting & 63:  # the first in a while, and now and then
            self._pulse.start()

    def flush(self) -> None:
        """Send what was counted, once; keep it when the store does not answer."""
        with self._flushing:
            self._fold()
            if not self._waiting or not self._store.up:
                return
            try:
                self._counts.add(self._waiting)
            except redis.RedisError:
                self._store.failed()
            else:
                self._waiting = {}

    def _fold(self) -> None:
        """Add what has come to what waits, a tenant's requests together: they are many."""
        fresh: defaultdict[UUID, list[float]] = defaultdict(lambda: [0, 0, 0.0])
        while self._requests:
            tenant, seconds, refused = self._requests.popleft()
            sums = fresh[tenant]
            sums[0] += 1
            sums[1] += refused
            sums[2] += seconds
        for tenant, (requests, refusals, busy) in fresh.items():
            before = self._waiting.get(tenant, Done())
            self._waiting[tenant] = Done(
                before.requests + int(requests),
                before.refused + int(refusals),
                before.busy_ms + round(busy * 1000),
            )


@cache
def tally_of(region: str) -> Tally:
    return Tally(store_of(region))
