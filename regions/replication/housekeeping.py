"""What keeps a replica's bookkeeping small and its lag visible."""

from __future__ import annotations

from psycopg import sql

from regions.replication.session import Session

KEEP_LOG = "10 minutes"
PRUNED_AT_ONCE = 500  # entries of each origin

# From each origin's oldest on, so that young ones are not read.
_PRUNE_LOG = sql.SQL("""
DELETE FROM fabric.change c USING generate_series(1, 31) AS node CROSS JOIN LATERAL (
       SELECT o.origin, o.stamp, o.arrival FROM fabric.change o
        WHERE o.origin = node::smallint ORDER BY o.arrival LIMIT {at_once}) AS old
 WHERE c.origin = old.origin AND c.arrival = old.arrival
   AND old.stamp < ((extract(epoch FROM now() - $1::interval) * 1000000)::bigint
                    - 1577836800000000) << 8
   AND NOT EXISTS (SELECT FROM fabric.watermark w WHERE w.origin = old.origin
                   AND old.arrival > w.arrival)
   -- By its own newest a replica is known to be no older than its peers remember it.
   AND old.arrival <> (SELECT max(n.arrival) FROM fabric.change n WHERE n.origin = old.origin)
""").format(at_once=PRUNED_AT_ONCE)

# What an agent of an earlier version writes until it is restarted has its number in `seq` alone.
_NUMBER = """
UPDATE fabric.change c SET arrival = c.seq FROM fabric.member m
 WHERE c.origin = m.node AND c.arrival IS NULL
"""

# A heartbeat goes through the same log as every change: it carries lag, and marks a position. There
# is none as long as this replica's log may have gone back: its number might be another entry's.
BEAT = """
INSERT INTO fabric.change (origin, seq, arrival, xact, stamp, epoch, op, lead)
SELECT %s, beat.seq, beat.seq, pg_current_xact_id(), fabric.next_stamp(), beat.epoch, 'H', true
  FROM (SELECT nextval('fabric.change_seq') AS seq, gate.epoch FROM fabric.gate
         WHERE coalesce(gate.trusted_start = pg_postmaster_start_time(), true)) AS beat
RETURNING seq
"""

# A gate that was open for good, where a lease opens it from now on. None that a lease has opened.
UNDER_A_LEASE = """
UPDATE fabric.gate SET valid_until = '-infinity' WHERE valid_until = 'infinity'
"""

# A heartbeat if it is due, or if anything was written since the last one: its number, whether there
# may be any, whether nobody may write here, and whether the gate is open for good.
PULSE = """
WITH beat AS (
    INSERT INTO fabric.change (origin, seq, arrival, xact, stamp, epoch, op, lead)
    SELECT %(node)s, beat.seq, beat.seq, pg_current_xact_id(), fabric.next_stamp(), beat.epoch,
           'H', true
      FROM (SELECT nextval('fabric.change_seq') AS seq, gate.epoch
              FROM fabric.gate, fabric.change_seq log
             WHERE coalesce(gate.trusted_start = pg_postmaster_start_time(), true)
               AND (%(due)s OR log.last_value IS DISTINCT FROM %(last)s)) AS beat
    RETURNING seq)
SELECT (SELECT seq FROM beat), coalesce(gate.trusted_start = pg_postmaster_start_time(), true),
       fabric.kept_closed() IS NOT NULL, gate.valid_until = 'infinity'
  FROM fabric.gate
"""

BACKLOG = """
SELECT count(*) FROM fabric.watermark w
 WHERE EXISTS (SELECT FROM fabric.change c WHERE c.origin = w.origin AND c.arrival > w.arrival)
"""


async def prune(session: Session) -> int:
    """Drop ended transactions' rows, and log and probes that are applied and old. Returns how many
    entries of the log went: while there are any, call it again, between what has arrived.

    Runs in an applying session, so nothing of it is captured. Peers read the log from the WAL,
    never from the table: what is old here is not missing there.
    """
    await session.execute(
        "DELETE FROM fabric.txn WHERE xact < pg_snapshot_xmin(pg_current_snapshot())"
    )
    await session.execute("DELETE FROM fabric.probe WHERE at < now() - $1::interval", (KEEP_LOG,))
    await session.execute(_NUMBER)
    return (await session.execute(_PRUNE_LOG, (KEEP_LOG,))).rowcount
