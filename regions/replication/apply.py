"""Applies what peers have sent: set-based, idempotent, exactly once, never stalling.

One step takes the next run of whole source transactions of one origin from the inbox, merges
them into the tables and moves that origin's watermark, all in one transaction. If a row can't be
applied, the run is taken again in smaller parts, and what fails is parked (`letters`).
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from regions.replication import collisions, letters
from regions.replication.session import Session, merge_stage
from regions.replication.shapes import KNOWN, NAMES, Shape, relation_of
from regions.replication.statements import Statements

BATCH = 2_000  # entries a step; a larger source transaction is still taken whole
BATCH_ROWS = 20_000

# What a step moves the watermark by, of the entries that are `taken`.
_REACHED = sql.SQL("""
       max(c.arrival) FILTER (WHERE {taken}), coalesce(sum(c.size) FILTER (WHERE {taken}), 0),
       max(c.stamp) FILTER (WHERE {taken} AND c.stamp <= (SELECT fabric.horizon())),
       max(c.seq) FILTER (WHERE {taken} AND c.op = 'H'), max(c.seq) FILTER (WHERE {taken})
""")

_NEXT = sql.SQL("""
SELECT (SELECT arrival FROM fabric.watermark WHERE origin = $1),
       bool_and(c.before < {rows}) AND count(*) < {batch}, bool_and(c.op = 'H'), {reached}
  FROM (SELECT c.arrival, c.size, c.stamp, c.op, c.seq,
               sum(c.size) OVER (ORDER BY c.arrival ROWS UNBOUNDED PRECEDING) - c.size AS before
          FROM fabric.change c
         WHERE c.origin = $1
           AND c.arrival > (SELECT w.arrival FROM fabric.watermark w WHERE w.origin = $1)
         ORDER BY c.arrival LIMIT {batch}) AS c
""").format(
    batch=BATCH,
    rows=BATCH_ROWS,
    reached=_REACHED.format(taken=sql.SQL("c.before < {}").format(BATCH_ROWS)),
)

# What else the source transaction has that the run ends with. One worker fills the inbox of an
# origin, so that is what comes before another one's entry; all that waits need not be read.
_END = sql.SQL("""
SELECT {reached} FROM fabric.change c
 WHERE c.origin = $1 AND c.arrival > $2
   AND c.arrival < coalesce((SELECT o.arrival FROM fabric.change o
                              WHERE o.origin = $1 AND o.arrival > $2
                                AND o.xact <> (SELECT l.xact FROM fabric.change l
                                                WHERE l.origin = $1 AND l.arrival = $2)
                              ORDER BY o.arrival LIMIT 1), 9223372036854775807)
""").format(reached=_REACHED.format(taken=sql.SQL("true")))

_CONTENTS = sql.SQL("""
SELECT run.*, run.names::text[], {known},
       EXISTS (SELECT FROM fabric.tombstone g WHERE g.rel = run.rel)
  FROM (SELECT c.rel, {names} AS names, bool_and(c.op = 'I'), sum(c.size),
               max(c.stamp) > (SELECT fabric.horizon()) FROM fabric.change c
         WHERE c.origin = $1 AND c.arrival > $2 AND c.arrival <= $3 AND c.op <> 'H'
         GROUP BY 1, 2) AS run
  LEFT JOIN fabric.relation r USING (rel)
""").format(known=KNOWN, names=NAMES)

_ENTRIES = sql.SQL("""
SELECT c.arrival, c.seq, c.rel, {names}, {names}::text[], c.size,
       c.stamp > (SELECT fabric.horizon())
  FROM fabric.change c
 WHERE c.origin = $1 AND c.arrival > $2 AND c.arrival <= $3 AND c.op <> 'H' ORDER BY c.arrival
""").format(names=NAMES)

_RELATION = sql.SQL("SELECT {} FROM fabric.relation r WHERE r.rel = $1").format(KNOWN)

# A stamp that is too far ahead is none: it pushes no clock.
_ADVANCE = """
UPDATE fabric.watermark w
   SET arrival = $2, at = clock_timestamp(), stamp = greatest(w.stamp, $3::bigint),
       heartbeat = greatest(w.heartbeat, $4::bigint), seq = greatest(w.seq, $5::bigint)
 WHERE w.origin = $1
RETURNING (SELECT setval('fabric.clock', greatest(last_value, $3::bigint >> 8)) FROM fabric.clock)
"""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did. `more`: the inbox held more than one batch."""

    rows: int
    parked: int
    more: bool


@dataclass(frozen=True, slots=True)
class Run:
    """Entries of one origin by arrival: after `low`, up to `high`; `beats`: all are heartbeats.
    The newest of its stamps, of its heartbeats and of its numbers, where it has any."""

    origin: int
    low: int
    high: int
    beats: bool
    stamp: int | None
    heartbeat: int | None
    seq: int | None

    @property
    def bounds(self) -> tuple[int, int, int]:
        return (self.origin, self.low, self.high)

    @property
    def reached(self) -> tuple[int | None, ...]:
        return (self.origin, self.high, self.stamp, self.heartbeat, self.seq)


async def step(session: Session, origin: int) -> Step:
    """Apply the next batch of `origin`'s changes."""
    run, rows, more = await _next_run(session, origin)
    if run is None:
        return Step(0, 0, more=False)
    parked = 0
    if run.beats:
        await session.execute(_ADVANCE, run.reached)
        return Step(rows, parked, more=more)
    try:
        async with session.connection.transaction():
            await _merge_run(session, run)
            await session.execute(_ADVANCE, run.reached)
    except psycopg.errors.OperationalError:
        raise
    except psycopg.Error:
        session.forget()
        parked = await _apply_in_parts(session, run)
    return Step(rows, parked, more=more)


async def _next_run(session: Session, origin: int) -> tuple[Run | None, int, bool]:
    """The next run, cut at the border of a source transaction; its rows; whether there is more."""
    ((low, whole, beats, high, rows, *newest),) = await session.fetch(_NEXT, (origin,))
    if high is None:
        return None, 0, False
    if not whole:
        # The inbox shows source transactions whole, so the last one's end is there to be read.
        ((end, further, *later),) = await session.fetch(_END, (origin, high))
        high, rows = end or high, rows + further
        newest = [_newest(*pair) for pair in zip(newest, later, strict=True)]
    return Run(origin, low, high, beats and whole, *newest), int(rows), not whole


def _newest(*numbers: int | None) -> int | None:
    return max((number for number in numbers if number is not None), default=None)


async def _merge_run(session: Session, run: Run) -> None:
    contents = await session.fetch(_CONTENTS, run.bounds)
    for rel, names, only_new, rows, ahead, columns, *known, buried in contents:
        if ahead:
            raise _too_far_ahead()
        shape = Shape(relation_of(rel, *known), tuple(columns))
        statements = await session.statements(shape)
        params = (*run.bounds, rel, names)
        if only_new and not buried:
            inserted = (await session.execute(statements.insert_new, params)).rowcount
            if inserted == rows and not await _has_tombstones(session, rel):
                await session.leave(statements)
                continue
        await session.execute(statements.stage, params)
        await merge_stage(session, statements, rows=int(rows))


async def _has_tombstones(session: Session, rel: str) -> bool:
    found = await session.fetch(
        "SELECT EXISTS (SELECT FROM fabric.tombstone WHERE rel = $1)", (rel,)
    )
    return bool(found[0][0])


async def _apply_in_parts(session: Session, run: Run) -> int:
    """The slow way round a row that fails: everything else of the run still goes in, at once."""
    parked = 0
    async with session.connection.transaction():
        entries = await session.fetch(_ENTRIES, run.bounds)
        for arrival, seq, rel, names, columns, size, ahead in entries:
            entry = replace(run, low=arrival - 1, high=arrival)
            if not ahead and await _succeeds(session, _merge_run(session, entry)) is None:
                continue
            for place in range(1, size + 1):
                row = (*entry.bounds, rel, names, seq, place)
                error = (
                    _too_far_ahead()
                    if ahead
                    else await collisions.place(session, partial(_stage_row, session, row, columns))
                )
                if error is not None:
                    await letters.park(session, row, columns, error)
                    parked += 1
        await session.execute(_ADVANCE, run.reached)
    return parked


def _too_far_ahead() -> psycopg.Error:
    return psycopg.errors.DatetimeFieldOverflow(
        "its stamp is too far ahead of this region's clock: is the sender's right?"
    )


async def _stage_row(session: Session, row: tuple[Any, ...], columns: list[str]) -> Statements:
    rel = row[3]
    found = await session.fetch(_RELATION, (rel,))
    known = found[0] if found else (None, None, None)
    statements = await session.statements(Shape(relation_of(rel, *known), tuple(columns)))
    await session.execute(statements.stage_row, row)
    return statements


async def _succeeds(session: Session, work: Coroutine[Any, Any, None]) -> psycopg.Error | None:
    """None, or what went wrong; then it has done nothing."""
    try:
        async with session.connection.transaction():
            await work
    except psycopg.errors.OperationalError:
        raise
    except psycopg.Error as error:
        session.forget()
        return error
    return None
