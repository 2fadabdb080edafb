"""What keeps a replica's bookkeeping small and its lag visible."""

from __future__ import annotations

from typing import Any

import psycopg

KEEP_LOG = "10 minutes"

# A heartbeat goes through the same log as every change: it carries lag, and marks a position.
BEAT = """
INSERT INTO fabric.change (origin, seq, xact, stamp, epoch, op, lead)
SELECT %s, nextval('fabric.change_seq'), pg_current_xact_id(), fabric.next_stamp(), gate.epoch,
       'H', true
  FROM fabric.gate
RETURNING seq
"""

BACKLOG = """
SELECT count(*) FROM fabric.watermark w
 WHERE EXISTS (SELECT FROM fabric.change c WHERE c.origin = w.origin AND c.arrival > w.arrival)
"""


async def prune(connection: psycopg.AsyncConnection[Any]) -> None:
    """Drop ended transactions' rows, and log and probes that are applied and old.

    Runs in an applying session, so nothing of it is captured. Peers read the log from the WAL,
    never from the table: what is old here is not missing there.
    """
    await connection.execute(
        "DELETE FROM fabric.txn WHERE xact < pg_snapshot_xmin(pg_current_snapshot())"
    )
    await connection.execute(
        "DELETE FROM fabric.change c"
        " WHERE c.stamp < ((extract(epoch FROM now() - %s::interval) * 1000000)::bigint"
        "                  - 1577836800000000) << 8"
        "   AND NOT EXISTS (SELECT FROM fabric.watermark w WHERE w.origin = c.origin"
        "                   AND c.arrival > w.arrival)"
        "   AND NOT EXISTS (SELECT FROM fabric.dead_letter d WHERE d.origin = c.origin"
        "                   AND d.seq = c.seq)",
        (KEEP_LOG,),
    )
    await connection.execute(
        "DELETE FROM fabric.probe WHERE at < now() - %s::interval", (KEEP_LOG,)
    )
