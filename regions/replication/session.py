"""A session that applies: quiet triggers, fixed settings, and stages of its own.

`session_replication_role = replica` keeps stamps, capture and foreign keys quiet; the settings are
those under which the log's texts were written, so that they are read as they were meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql

from regions.replication import resolving
from regions.replication.shapes import Shape
from regions.replication.statements import Statements

SMALL = 1_000  # staged rows that are deleted; after more the stage is truncated

_SESSION = """
SET session_replication_role = replica; SET search_path = pg_catalog;
SET synchronous_commit = off;               -- the inbox itself is durable
SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 1;
SET bytea_output = 'hex'; SET TimeZone = 'UTC'; SET lc_monetary = 'C'; SET xmloption = 'content';
-- A plan is kept: the next stage is small, what was empty is not, and a run is read in its order.
SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off;
SET enable_bitmapscan = off
"""


class Session:
    """A connection that applies: quiet triggers, and stages of its own."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self.connection = connection
        self._cursor = psycopg.AsyncRawCursor(connection)
        self._known: dict[Shape, Statements] = {}

    async def close(self) -> None:
        await self.connection.close()

    async def execute(
        self, statement: str | sql.SQL | sql.Composed, params: Sequence[object] = ()
    ) -> psycopg.AsyncRawCursor[Any]:
        """Parameters are PostgreSQL's own: $1, $2."""
        return await self._cursor.execute(statement, params or None)

    async def fetch(
        self, statement: str | sql.SQL | sql.Composed, params: Sequence[object] = ()
    ) -> list[tuple[Any, ...]]:
        return await (await self.execute(statement, params)).fetchall()

    async def statements(self, shape: Shape) -> Statements:
        """Those of the shape, with what they need in this session."""
        known = self._known.get(shape)
        if known is None:
            known = Statements(shape)
            row = await self.fetch(
                "SELECT to_regtype($1) IS NULL", (shape.row.as_string(self.connection),)
            )
            if row[0][0]:
                for definition in known.definitions:
                    await self.execute(definition)
            self._known[shape] = known
        return known

    async def leave(self, statements: Statements) -> None:
        """They are not needed for now."""
        if statements.shape.fleeting:
            await self.execute(statements.drop)
            self._known.pop(statements.shape, None)

    def forget(self) -> None:
        """After a rollback: what it had made is gone."""
        self._known.clear()


async def open_session(dsn: str) -> Session:
    """A new one. Raises psycopg.Error."""
    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    try:
        await connection.execute(_SESSION)
    except BaseException:
        await connection.close()
        raise
    return Session(connection)


async def merge_stage(session: Session, statements: Statements, *, rows: int) -> None:
    """Merge what is staged into the table, and leave the stage empty."""
    await session.execute(statements.lock)
    await session.execute(statements.heed_tombstones)
    await session.execute(statements.record_discarded)
    await session.execute(statements.merge)
    if (await session.fetch(statements.any_dead))[0][0]:
        for statement in statements.settle_deleted:
            await session.execute(statement)
    await resolving.resolve(session, statements)
    await session.execute(statements.clear if rows <= SMALL else statements.truncate)
    await session.leave(statements)
