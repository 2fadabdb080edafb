"""Goes on with a verb when the control cell's writer changes in the middle of it.

For a verb that can be repeated, and that finishes what an earlier run of it has begun.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from django.db import Error as DjangoError
from psycopg import Error as PostgresError

from tenants.errors import TenantsError

# Longer than a failover takes.
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.25
_LEASE_LOST = "MDF01"

T = TypeVar("T")


def across_writers(attempt: Callable[[], T]) -> T:
    """What `attempt` returns, tried again while a region's database refuses it because another
    region holds the lease, or none does yet: for `PATIENCE_SECONDS` from the first refusal, then it
    raises the last one. `attempt` looks for the writer each time; its other errors are raised."""
    deadline: float | None = None
    while True:
        try:
            return attempt()
        except (DjangoError, PostgresError, TenantsError) as error:
            if not lease_was_lost(error):
                raise
            deadline = deadline or time.monotonic() + PATIENCE_SECONDS
            if time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_SECONDS)


def lease_was_lost(error: BaseException | None) -> bool:
    """Whether it comes from a region that may not write the cell, or not any more."""
    while error is not None:
        if getattr(error, "sqlstate", None) == _LEASE_LOST:
            return True
        error = error.__cause__
    return False
