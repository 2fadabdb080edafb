"""Looks at all replicas at a common watermark while they are written.

A barrier notes, in each region, which of its transactions have committed, and waits until every
other region has applied them. The snapshots that follow have all of those, and some have more: the
rows that such further transactions touched are told by the log, exactly, so that nothing which is
still under way passes for a difference.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from psycopg import sql
from psycopg.types.json import Jsonb

from regions.errors import NotSettled
from regions.replication.housekeeping import BEAT
from regions.replication.session import Session
from regions.replication.shapes import NAMES
from regions.replication.verification.asking import everywhere, soon
from regions.replication.verification.tables import Table

T = TypeVar("T")
Key = tuple[str, ...]

PAUSE_SECONDS = 0.01

_SHAPES = sql.SQL("""
SELECT names, names::text[]
  FROM (SELECT DISTINCT {names} AS names FROM fabric.change c WHERE c.rel = $1
           AND NOT pg_visible_in_snapshot(c.xact, ($2 ->> c.origin::text)::pg_snapshot)) AS found
""").format(names=NAMES)

_TOUCHED = sql.SQL("""
SELECT DISTINCT hstore(_fabric_written) -> {key}::text[] FROM fabric.change c
 CROSS JOIN LATERAL unnest(c.rows::{row}[]) AS _fabric_written({columns})
 WHERE c.rel = $1 AND {names} = $3
   AND NOT pg_visible_in_snapshot(c.xact, ($2 ->> c.origin::text)::pg_snapshot)
""")


@dataclass(frozen=True)
class Cut:
    """Open snapshots, one a region. `marks`: by node, which of its transactions they all have."""

    sessions: Mapping[str, Session]
    marks: Mapping[str, str]

    async def everywhere(self, work: Callable[[Session], Awaitable[T]]) -> dict[str, T]:
        return await everywhere(self.sessions, work)

    async def touched(self, table: Table) -> set[Key]:
        """The table's rows that some of the snapshots have a newer change of than others may."""
        found = await self.everywhere(lambda session: self._touched_in(session, table))
        return set().union(*found.values())

    async def _touched_in(self, session: Session, table: Table) -> set[Key]:
        keys: set[Key] = set()
        params = (table.name, Jsonb(dict(self.marks)))
        for names, columns in await session.fetch(_SHAPES, params):
            # Gone when the snapshot is: nothing of this is committed.
            kind = sql.Identifier("pg_temp", f"_fabric_touched_{abs(hash(tuple(columns)))}")
            texts = sql.SQL(", ").join(
                sql.SQL("{} text").format(sql.Identifier(c)) for c in columns
            )
            await session.execute(sql.SQL("CREATE TYPE {} AS ({})").format(kind, texts))
            rows = await session.fetch(
                _TOUCHED.format(
                    key=sql.Literal(list(table.relation.key)),
                    names=NAMES,
                    row=kind,
                    columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
                ),
                (*params, names),
            )
            await session.execute(sql.SQL("DROP TYPE {}").format(kind))
            keys |= {tuple(pk) for (pk,) in rows}
        return keys


@asynccontextmanager
async def cut(sessions: Mapping[str, Session], *, patience: float) -> AsyncIterator[Cut]:
    """Snapshots at a common watermark. Raises NotSettled, naming the regions, when one has not
    applied within `patience` seconds what another had committed; ReplicaDown."""
    marks = await barrier(sessions, patience)

    async def snapshot(session: Session) -> None:
        await session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        # A migration may keep a table from being read for so long.
        await session.execute("SET LOCAL lock_timeout = '30s'")
        await session.execute("SELECT 1")

    async def leave(session: Session) -> None:
        if not session.connection.closed:
            await session.execute("ROLLBACK")

    try:
        await everywhere(sessions, snapshot)
        yield Cut(sessions, marks)
    finally:
        await everywhere(sessions, leave)


async def barrier(sessions: Mapping[str, Session], patience: float) -> dict[str, str]:
    """By node, which of its transactions had committed; all of those every region has applied.
    Raises NotSettled, ReplicaDown."""
    marks = await asyncio.gather(
        *(soon(region, _mark(region, session)) for region, session in sessions.items())
    )
    marked = dict(zip(sessions, marks, strict=True))
    deadline = time.monotonic() + patience
    for region, session in sessions.items():
        while behind := await soon(region, _behind(session, marked)):
            if time.monotonic() > deadline:
                raise NotSettled(
                    f"{region} has not applied what {behind} wrote {patience:g} s ago: are its"
                    " agent and the link between them up? Compare again when it has caught up."
                )
            await asyncio.sleep(PAUSE_SECONDS)
    return {str(node): snapshot for node, snapshot, _ in marked.values()}


async def _mark(region: str, session: Session) -> tuple[int, str, int]:
    """(node, what has committed there, the heartbeat after all of that)."""
    node, snapshot = (
        await session.fetch("SELECT node, pg_current_snapshot()::text FROM fabric.member")
    )[0]
    beat = await (await session.connection.execute(BEAT, (node,))).fetchone()
    if beat is None:
        raise NotSettled(f"{region} has not been looked at since its server started")
    return node, snapshot, beat[0]


async def _behind(session: Session, marked: Mapping[str, tuple[int, str, int]]) -> str | None:
    """A region whose mark is not applied here yet."""
    heard: dict[int, Any] = dict(
        await session.fetch(
            "SELECT origin, heartbeat FROM fabric.watermark"
            " UNION ALL SELECT node, 9223372036854775807 FROM fabric.member"
        )
    )
    return next(
        (region for region, (node, _, beat) in marked.items() if heard.get(node, 0) < beat), None
    )
