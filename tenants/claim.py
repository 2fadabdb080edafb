"""One process at a time works on a slug, a cell or a pool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from regions.current import deployment
from regions.deployment import APP_ROLE, CONTROL_CELL, CONTROL_DATABASE
from tenants.databases import leases
from tenants.errors import TenantsError
from tenants.sessions import lent


@contextmanager
def claim(subject: str, busy: TenantsError, *, patience: float = 0.0) -> Iterator[None]:
    """Raises `busy` if another process has it still after `patience` seconds. Held as a lock of a
    session of its own: it ends with the process, however that ends."""
    key = claim_name(subject)
    with lent(_where()) as session:
        if patience:
            session.execute(f"SET lock_timeout = {int(patience * 1000)}".encode())
            try:
                session.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (key,))
            except psycopg.errors.LockNotAvailable as error:
                raise busy from error
        else:
            got = session.execute(
                "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (key,)
            ).fetchone()
            if not got or not got[0]:
                raise busy
        try:
            yield
        finally:
            # Also when the work failed: a session that is closed ends a moment later.
            try:
                session.execute("SELECT pg_advisory_unlock_all(); RESET lock_timeout")
            except psycopg.Error:
                session.close()


def claim_name(subject: str) -> str:
    """The lock that whoever works on it takes."""
    return f"provision {subject}"


@contextmanager
def control_session() -> Iterator[psycopg.Connection[Any]]:
    """A session of its own where the control cell is written."""
    with psycopg.connect(_where(), autocommit=True, connect_timeout=5) as session:
        yield session


def _where() -> str:
    lease = leases().get(CONTROL_CELL)
    region = lease.writer if lease else next(iter(deployment().regions))
    return deployment().dsn(region, CONTROL_DATABASE, APP_ROLE)
