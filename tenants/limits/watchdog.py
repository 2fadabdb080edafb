"""Ends statements that run longer than their tenant may, whatever they told the server.

`statement_timeout` goes out with each statement, but SQL that somebody has injected can set it
back within its own message, and can catch the first cancellation. Guarantees that such a
statement is cancelled soon after its time, and its connection ended after twice that; that other
tenants' and operators' statements are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from uuid import UUID

import psycopg

from regions import cells
from regions.deployment import APP_ROLE, Deployment
from tenants.backend.context import tenant_of

# The server's own timeout comes first: what it ends needs no watchdog.
GRACE_MS = 1_000

# A process that has gone on to another statement meanwhile is not the one that was judged.
_RUNNING = """
SELECT pid, query_start, query,
       extract(epoch FROM clock_timestamp() - query_start) * 1000
  FROM pg_stat_activity
 WHERE usename = %s AND state = 'active' AND backend_type = 'client backend'
   AND query_start < clock_timestamp() - %s * interval '1 millisecond'
"""
_END = {
    "cancel": "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
    " WHERE pid = %s AND query_start = %s AND state = 'active'",
    "terminate": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE pid = %s AND query_start = %s AND state = 'active'",
}


class Action(StrEnum):
    LEAVE = "leave"
    CANCEL = "cancel"
    TERMINATE = "terminate"


def judge(elapsed_ms: float, allowed_ms: int | None) -> Action:
    """What to do about a statement that has run for so long. Pure."""
    if allowed_ms is None or elapsed_ms <= allowed_ms + GRACE_MS:
        return Action.LEAVE
    if elapsed_ms <= 2 * (allowed_ms + GRACE_MS):
        return Action.CANCEL
    return Action.TERMINATE


def watch(deployment: Deployment, region: str, allowed: Mapping[UUID, int]) -> int:
    """Look once at everything that runs in the region; returns how many statements it ended.

    `allowed`: milliseconds by tenant; whoever is not named may run as long as it takes.
    """
    if not allowed:
        return 0
    ended = 0
    shortest = min(allowed.values()) + GRACE_MS
    with cells.administrator(deployment, region) as administrator:
        running = administrator.execute(_RUNNING, (APP_ROLE, shortest)).fetchall()
        for pid, began, statement, elapsed in running:
            tenant = tenant_of(statement)
            action = judge(float(elapsed), allowed.get(tenant) if tenant else None)
            if action is not Action.LEAVE:
                ended += len(_end(administrator, action, pid, began))
    return ended


def _end(
    administrator: psycopg.Connection[tuple[object, ...]], action: Action, pid: int, began: object
) -> list[tuple[object, ...]]:
    return administrator.execute(_END[action].encode(), (pid, began)).fetchall()
