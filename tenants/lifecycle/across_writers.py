"""Goes on with a verb when the control cell's writer changes in the middle of it.

For a verb that can be repeated, and that finishes what an earlier run of it has begun.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from django.db import Error as DjangoError
from psycopg import Error as PostgresError

from regions.cli import one_line
from regions.errors import NoWriter
from tenants.errors import TenantsError
from tenants.isolation.base import Progress

# Longer than a failover takes.
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.25
_LEASE_LOST = "MDF01"

T = TypeVar("T")


def across_writers(attempt: Callable[[], T], progress: Progress) -> T:
    """What `attempt` returns, tried again while a region's database refuses it because another
    region holds the lease, or none does yet. `attempt` looks for the writer each time; its other
    errors are raised. Raises NoWriter after `PATIENCE_SECONDS` of refusals."""
    deadline: float | None = None
    while True:
        try:
            return attempt()
        except (DjangoError, PostgresError, TenantsError) as error:
            if not lease_was_lost(error):
                raise
            if deadline is None:
                deadline = time.monotonic() + PATIENCE_SECONDS
                progress(f"waiting for the control cell's writer: {one_line(error)}", 5)
            if time.monotonic() > deadline:
                raise NoWriter(
                    f"The control cell had no writer for {PATIENCE_SECONDS:g} s: {one_line(error)}."
                    " Repeat the command once `region list` shows one: it goes on where it"
                    " stopped."
                ) from error
        time.sleep(PAUSE_SECONDS)


def lease_was_lost(error: BaseException | None) -> bool:
    """Whether it comes from a region that may not write the cell, or not any more."""
    while error is not None:
        if getattr(error, "sqlstate", None) == _LEASE_LOST:
            return True
        error = error.__cause__
    return False
