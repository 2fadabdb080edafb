"""Keeps a tenant out of a cell that it leaves, in the database itself.

Guarantees that once a fence is up and those in flight are out, nothing is read or written for the
tenant there, whatever map a process has. The refusal is SQLSTATE MDF01, as for a lost lease.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import UUID

from tenants.errors import MoveFailed
from tenants.isolation import tenancy
from tenants.isolation.owner import Connection

PATIENCE_SECONDS = 10.0
PAUSE_SECONDS = 0.01

# Those who may have begun a statement, or written, before the fence was there to be seen. A
# transaction with neither a snapshot nor an id sees it with its next statement.
_IN_FLIGHT = """
SELECT pid, xact_start FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()
   AND usename IN ('meridian_app', 'meridian_owner') AND xact_start IS NOT NULL
   AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)
"""


def ensure(administrator: Connection, owner: Connection, key: bytes) -> None:
    """A cell that was made before there were fences gets them."""
    known = administrator.execute("SELECT to_regclass('tenancy.frozen') IS NOT NULL").fetchone()
    if not known or not known[0]:
        tenancy.install(owner, key)


def put_up(administrator: Connection, tenant: UUID) -> None:
    administrator.execute(
        "INSERT INTO tenancy.frozen (tenant) VALUES (%s) ON CONFLICT DO NOTHING", (tenant,)
    )


def take_down(administrator: Connection, tenant: UUID) -> None:
    administrator.execute("DELETE FROM tenancy.frozen WHERE tenant = %s", (tenant,))


def wait_for_those_in_flight(administrators: Sequence[Connection]) -> None:
    """Returns when every transaction that may have missed the fence has ended. Raises MoveFailed
    when one takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    waiting = [(each, set(each.execute(_IN_FLIGHT).fetchall())) for each in administrators]
    while waiting := [
        (each, left)
        for each, seen in waiting
        if (left := seen & set(each.execute(_IN_FLIGHT).fetchall()))
    ]:
        if time.monotonic() > deadline:
            pids = sorted(pid for _, left in waiting for pid, _ in left)
            raise MoveFailed(
                f"transactions that began before the move don't end (server processes {pids})"
            )
        time.sleep(PAUSE_SECONDS)
