"""One process at a time works on a slug."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from regions.current import deployment
from regions.deployment import APP_ROLE, CONTROL_CELL, CONTROL_DATABASE
from tenants.databases import leases
from tenants.errors import TenantsError


@contextmanager
def claim(slug: str, busy: TenantsError) -> Iterator[None]:
    """Raises `busy` if another process has the slug. Held as a lock of a session of its own: it
    ends with the process, however that ends."""
    lease = leases().get(CONTROL_CELL)
    region = lease.writer if lease else next(iter(deployment().regions))
    dsn = deployment().dsn(region, CONTROL_DATABASE, APP_ROLE)
    with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as session:
        got = session.execute(
            "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (f"provision {slug}",)
        ).fetchone()
        if not got or not got[0]:
            raise busy
        yield
        with suppress(psycopg.Error):
            session.execute("SELECT pg_advisory_unlock_all()")
