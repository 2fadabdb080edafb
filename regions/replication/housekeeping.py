"""What keeps a replica's bookkeeping small and its lag visible."""

from __future__ import annotations

from regions.replication.session import Session

KEEP_LOG = "10 minutes"

# A heartbeat goes through the same log as every change: it carries lag, and marks a position. There
# is none as long as this replica's log may have gone back: its number might be another entry's.
BEAT = """
INSERT INTO fabric.change (origin, seq, xact, stamp, epoch, op, lead)
SELECT %s, nextval('fabric.change_seq'), pg_current_xact_id(), fabric.next_stamp(), gate.epoch,
       'H', true
  FROM fabric.gate
 WHERE coalesce(gate.trusted_start = pg_postmaster_start_time(), true)
RETURNING seq, fabric.kept_closed() IS NOT NULL
"""

BACKLOG = """
SELECT count(*) FROM fabric.watermark w
 WHERE EXISTS (SELECT FROM fabric.change c WHERE c.origin = w.origin AND c.arrival > w.arrival)
"""


async def prune(session: Session) -> None:
    """Drop ended transactions' rows, and log and probes that are applied and old.

    Runs in an applying session, so nothing of it is captured. Peers read the log from the WAL,
    never from the table: what is old here is not missing there.
    """
    await session.execute(
        "DELETE FROM fabric.txn WHERE xact < pg_snapshot_xmin(pg_current_snapshot())"
    )
    await session.execute(
        "DELETE FROM fabric.change c"
        " WHERE c.stamp < ((extract(epoch FROM now() - $1::interval) * 1000000)::bigint"
        "                  - 1577836800000000) << 8"
        "   AND NOT EXISTS (SELECT FROM fabric.watermark w WHERE w.origin = c.origin"
        "                   AND c.arrival > w.arrival)"
        # By its own newest a replica is known to be no older than its peers remember it.
        "   AND c.seq <> (SELECT max(seq) FROM fabric.change n WHERE n.origin = c.origin)",
        (KEEP_LOG,),
    )
    await session.execute("DELETE FROM fabric.probe WHERE at < now() - $1::interval", (KEEP_LOG,))
