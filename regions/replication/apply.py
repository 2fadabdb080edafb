"""Applies what peers have sent: set-based, idempotent, exactly once, never stalling.

One step takes the next run of whole source transactions of one origin from the inbox, merges
them into the tables and moves that origin's watermark, all in one transaction. If a row can't be
applied, the run is taken again row by row, and what fails goes to `fabric.dead_letter`.

A replica that a migration has reached earlier or later than its peer loses nothing: see `versions`.

The session must have `session_replication_role = replica`, so that stamps, capture and foreign
keys stay quiet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from regions.replication import versions
from regions.replication.statements import (
    JOIN_TOMBSTONES,
    STAGE,
    TAKE,
    Relation,
    statements_for,
)

Connection = psycopg.AsyncConnection[Any]

BATCH = 5_000  # log rows a step; a larger source transaction is still taken whole


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did. `more`: the inbox held more than one batch."""

    rows: int
    parked: int
    more: bool


async def open_session(dsn: str) -> Connection:
    """A connection that applies: quiet triggers, its own staging table."""
    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    try:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("SET search_path = pg_catalog")
        await connection.execute("SET synchronous_commit = off")  # the inbox itself is durable
        await connection.execute(STAGE)
    except BaseException:
        await connection.close()
        raise
    return connection


async def step(connection: Connection, origin: int) -> Step:
    """Apply the next batch of `origin`'s changes."""
    bounds = await _next_batch(connection, origin)
    if bounds is None:
        return Step(0, 0, more=False)
    low, high, rows = bounds
    parked = 0
    try:
        async with connection.transaction():
            await _merge_run(connection, origin, low, high)
            await _advance(connection, origin, high)
    except psycopg.errors.OperationalError:
        raise
    except psycopg.Error:
        parked = await _apply_one_by_one(connection, origin, low, high)
    return Step(rows, parked, more=rows >= BATCH)


async def retry_dead_letters(connection: Connection) -> int:
    """Try each parked change again; returns how many went in."""
    letters = await (
        await connection.execute(
            "SELECT origin, seq FROM fabric.dead_letter ORDER BY first_at, seq"
        )
    ).fetchall()
    done = 0
    for origin, seq in letters:
        if await _apply_row(connection, origin, seq):
            done += 1
            await connection.execute(
                "DELETE FROM fabric.dead_letter WHERE origin = %s AND seq = %s", (origin, seq)
            )
    return done


async def _next_batch(connection: Connection, origin: int) -> tuple[int, int, int] | None:
    """(after, up to, rows) in arrival numbers, cut at the border of a source transaction."""
    found = await connection.execute(
        "WITH run AS ("
        "  SELECT c.arrival, c.xact FROM fabric.change c, fabric.watermark w"
        "   WHERE w.origin = %(origin)s AND c.origin = w.origin AND c.arrival > w.arrival"
        "   ORDER BY c.arrival LIMIT %(batch)s)"
        " SELECT (SELECT arrival FROM fabric.watermark WHERE origin = %(origin)s), max(arrival),"
        "        count(*), (SELECT xact FROM run ORDER BY arrival DESC LIMIT 1) FROM run",
        {"origin": origin, "batch": BATCH},
    )
    row = await found.fetchone()
    if row is None or row[2] == 0:
        return None
    low, high, rows, last = row
    if rows >= BATCH:
        # The inbox shows source transactions whole, so the last one's end is there to be read.
        ends = await connection.execute(
            "SELECT max(arrival), count(*) FROM fabric.change"
            " WHERE origin = %s AND arrival > %s AND xact = %s",
            (origin, high, last),
        )
        end = await ends.fetchone()
        if end is not None and end[1]:
            high, rows = end[0], rows + end[1]
    return low, high, rows


async def _merge_run(connection: Connection, origin: int, low: int, high: int) -> None:
    where = sql.SQL("c.origin = {} AND c.arrival > {} AND c.arrival <= {}").format(
        origin, low, high
    )
    await _merge(connection, where)


async def _merge(connection: Connection, where: sql.Composable) -> None:
    await connection.execute("DELETE FROM pg_temp.stage")
    await connection.execute(TAKE.format(where=where))
    await connection.execute(JOIN_TOMBSTONES)
    found = await connection.execute(
        "SELECT s.rel, r.key, r.columns, bool_or(s.dead IS NOT NULL),"
        "       bool_or(s.content - r.columns <> '{}'), bool_and(s.content ?& r.columns)"
        "  FROM pg_temp.stage s LEFT JOIN fabric.relation r USING (rel) GROUP BY 1, 2, 3"
    )
    for rel, key, columns, deletes, more, whole in await found.fetchall():
        if key is None:
            raise psycopg.errors.UndefinedTable(f"{rel} does not exist in this replica")
        relation = Relation(rel, tuple(key), tuple(columns))
        if more:
            await versions.refuse_unknown_fields(connection, relation)
        if not whole:
            await versions.fill_missing_fields(connection, relation)
        for statement in statements_for(relation, deletes=deletes):
            await connection.execute(statement)
    await connection.execute(
        "SELECT setval('fabric.clock', greatest(last_value, newest >> 8)) FROM fabric.clock,"
        " (SELECT max(greatest(dead, (content ->> '_stamp')::bigint)) AS newest"
        "    FROM pg_temp.stage) AS received WHERE newest IS NOT NULL"
    )


async def _advance(connection: Connection, origin: int, high: int) -> None:
    await connection.execute(
        "UPDATE fabric.watermark w SET arrival = %(high)s, at = clock_timestamp(),"
        "  stamp = greatest(w.stamp, run.stamp), heartbeat = greatest(w.heartbeat, run.heartbeat)"
        " FROM (SELECT max(c.stamp) AS stamp,"
        "              coalesce(max(c.seq) FILTER (WHERE c.op = 'H'), 0) AS heartbeat"
        "         FROM fabric.change c, fabric.watermark v WHERE v.origin = %(origin)s"
        "          AND c.origin = v.origin AND c.arrival > v.arrival AND c.arrival <= %(high)s"
        " ) AS run WHERE w.origin = %(origin)s",
        {"origin": origin, "high": high},
    )


async def _apply_one_by_one(connection: Connection, origin: int, low: int, high: int) -> int:
    """The slow way round a row that fails: everything else of the batch still goes in, at once."""
    parked = 0
    async with connection.transaction():
        rows = await connection.execute(
            "SELECT seq FROM fabric.change WHERE origin = %s AND arrival > %s AND arrival <= %s"
            " ORDER BY arrival",
            (origin, low, high),
        )
        for (seq,) in await rows.fetchall():
            if not await _apply_row(connection, origin, seq):
                parked += 1
        await _advance(connection, origin, high)
    return parked


async def _apply_row(connection: Connection, origin: int, seq: int) -> bool:
    where = sql.SQL("c.origin = {} AND c.seq = {}").format(origin, seq)
    try:
        async with connection.transaction():
            await _merge(connection, where)
    except psycopg.errors.OperationalError:
        raise
    except psycopg.Error as error:
        await connection.execute(
            "INSERT INTO fabric.dead_letter AS d (origin, seq, reason) VALUES (%s, %s, %s)"
            " ON CONFLICT (origin, seq) DO UPDATE SET reason = EXCLUDED.reason,"
            " attempts = d.attempts + 1, last_at = now()",
            (origin, seq, _reason(error)),
        )
        return False
    return True


def _reason(error: psycopg.Error) -> str:
    """The error without its DETAIL: that repeats values of the row."""
    primary = error.diag.message_primary or str(error).splitlines()[0]
    return f"{error.sqlstate}: {primary}" if error.sqlstate else primary
