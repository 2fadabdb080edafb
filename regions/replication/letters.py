"""Dead letters: changes that could not be applied, whole, with the reason.

Each origin's newest change of a row is kept; it contains the earlier ones. Trying one again is
harmless whatever has arrived since: the merge is idempotent. A stamp of the future waits for it.
"""

from __future__ import annotations

import math
import time
from typing import Any

import psycopg
from psycopg import sql

from regions.replication import collisions
from regions.replication.session import Session
from regions.replication.shapes import KNOWN, NAMES, Shape, relation_of
from regions.replication.statements import Statements

# Letters tried again in one go: losers of a unique value last, for most of them stay what they are;
# then those that have waited longest first.
AT_ONCE = 500

# Its texts are kept as they came: that they can't be read may be the reason.
_PARK = sql.SQL("""
INSERT INTO fabric.dead_letter AS d (rel, pk, origin, tenant, state, dead, reason)
SELECT $4, hstore(written) -> coalesce(r.key, ARRAY['id']), c.origin, c.tenant,
       hstore(written) - ARRAY['_fabric_place'], CASE c.op WHEN 'D' THEN c.stamp END, $8
  FROM fabric.change c
 CROSS JOIN LATERAL unnest(c.rows::{row}[]) WITH ORDINALITY AS written({columns}, _fabric_place)
  LEFT JOIN fabric.relation r ON r.rel = c.rel
 WHERE c.origin = $1 AND c.arrival > $2 AND c.arrival <= $3 AND c.rel = $4 AND {written} = $5
   AND c.seq = $6 AND _fabric_place = $7
ON CONFLICT (rel, pk, origin) DO UPDATE
   SET state = EXCLUDED.state, dead = greatest(d.dead, EXCLUDED.dead), reason = EXCLUDED.reason,
       attempts = d.attempts + 1, last_at = now()
""")

_WAITING = sql.SQL("""
SELECT d.id, d.rel, akeys(d.state), {known} FROM fabric.dead_letter d
  LEFT JOIN fabric.relation r USING (rel)
 WHERE coalesce(greatest((d.state -> '_stamp')::bigint, d.dead), 0) <= (SELECT fabric.horizon())
 ORDER BY d.reason LIKE '23505%', d.last_at, d.id LIMIT {at_once}
""").format(known=KNOWN, at_once=AT_ONCE)


_DONE = """
WITH done AS (DELETE FROM fabric.dead_letter WHERE id = $1 RETURNING state -> '_stamp' AS stamp)
SELECT setval('fabric.clock', greatest(last_value, done.stamp::bigint >> 8)) FROM done, fabric.clock
"""


async def park(
    session: Session, row: tuple[Any, ...], columns: list[str], error: psycopg.Error
) -> None:
    """Keep one row of the log: (origin, low, high, table, text of `columns`, number, place)."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    texts = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(c)) for c in columns)
    # Gone with the transaction that parks.
    kind = sql.Identifier("pg_temp", "letter")
    await session.execute(sql.SQL("CREATE TYPE {} AS ({})").format(kind, texts))
    parking = _PARK.format(row=kind, columns=names, written=NAMES)
    await session.execute(parking, (*row, reason(error)))
    await session.execute(sql.SQL("DROP TYPE {}").format(kind))


async def retry(session: Session, *, seconds: float = math.inf) -> int:
    """Try parked changes again; returns how many went in. After `seconds` it ends, and the next
    call goes on with those that have waited longest: many that can't go in must not keep what
    arrives waiting."""
    done = 0
    enough = time.monotonic() + seconds
    for letter, rel, columns, *known in await session.fetch(_WAITING):

        async def load(
            letter: int = letter, rel: str = rel, columns: Any = columns, known: Any = known
        ) -> Statements:
            shape = Shape(relation_of(rel, *known), tuple(columns))
            statements = await session.statements(shape)
            await session.execute(statements.stage_letter, (letter,))
            return statements

        error = await collisions.place(session, load)
        if error is None:
            # A second time would be harmless.
            await session.execute(_DONE, (letter,))
            done += 1
        else:
            await session.execute(
                "UPDATE fabric.dead_letter SET reason = $2, attempts = attempts + 1,"
                " last_at = clock_timestamp() WHERE id = $1",
                (letter, reason(error)),
            )
        if time.monotonic() > enough:
            break
    return done


def reason(error: psycopg.Error) -> str:
    """The error without its DETAIL: that repeats values of the row."""
    primary = error.diag.message_primary or str(error).splitlines()[0]
    return f"{error.sqlstate}: {primary}" if error.sqlstate else primary
