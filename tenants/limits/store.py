"""The region's Valkey, where its processes count together.

Guarantees that a store which does not answer costs a request a tenth of a second once, and then
nothing until RETRY_SECONDS are over. Nothing in it is needed to start, and nothing is personal.
"""

from __future__ import annotations

import time
from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from regions.current import deployment

DATABASE = 3  # 0 to 2 are Celery's and the cache's
PATIENCE_SECONDS = 0.1
RETRY_SECONDS = 1.0


class Store:
    """One region's store. `up` is False for a while after it did not answer."""

    def __init__(self, url: str) -> None:
        self.client: redis.Redis = redis.Redis.from_url(
            url,
            socket_timeout=PATIENCE_SECONDS,
            socket_connect_timeout=PATIENCE_SECONDS,
            # Whoever waits is a request: it goes on without the store instead.
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )
        self._down_until = 0.0

    @property
    def up(self) -> bool:
        return time.monotonic() >= self._down_until

    def failed(self) -> None:
        """It did not answer: leave it alone for a while."""
        self._down_until = time.monotonic() + RETRY_SECONDS


@cache
def store_of(region: str) -> Store:
    return Store(deployment().region(region).valkey_url(DATABASE))


def local_store() -> Store:
    """The store of the region that this process belongs to."""
    return store_of(settings.MERIDIAN_REGION or next(iter(deployment().regions)))
