"""Keeps how comparisons came out, in each replica that took part."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import psycopg

from regions.replication.session import Session
from regions.replication.verification.asking import everywhere
from regions.replication.verification.verdict import Verdict

KEPT = 100
PATIENCE_SECONDS = 5.0

_KEEP = """
INSERT INTO fabric.verification (seconds, by, regions, unreachable, tables, tenants, rows,
                                 differences, repaired, in_flight, problem)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
_FORGET = (
    "DELETE FROM fabric.verification WHERE id <= (SELECT max(id) - $1 FROM fabric.verification)"
)


async def keep(
    sessions: Mapping[str, Session], verdict: Verdict, *, by: str, problem: str | None = None
) -> None:
    """`by`: who asked; `problem`: why there is no result."""

    async def write(session: Session) -> None:
        # A region that is frozen or lost by now has no record of it.
        with suppress(TimeoutError, psycopg.Error):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await insert(session)

    async def insert(session: Session) -> None:
        await session.execute(
            _KEEP,
            (verdict.seconds, by, list(verdict.regions), list(verdict.unreachable),
             verdict.tables, len(verdict.tenants), verdict.rows,
             verdict.found, verdict.repaired, verdict.in_flight, problem),
        )  # fmt: skip
        await session.execute(_FORGET, (KEPT,))

    await everywhere(sessions, write)
