"""What a region's agent has decided, and was asked for, is kept for so many days and not for ever.

Guarantees that a wish that is open stays, as do the newest events of each cell, however old they
are; that one statement goes through so many rows at most; and that what fails is done later.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import psycopg

from regions.failover.link import Link, Unreachable

log = logging.getLogger("meridian.agent")

MOST = 1000  # rows that a statement goes through
NEWEST = 20  # events that each cell keeps
PAUSE_SECONDS = 600.0
BETWEEN_SECONDS = 1.0  # so that many of them leave time for others
_EVENTS = """
WITH old AS MATERIALIZED (
    SELECT id, cell FROM lease.event
     WHERE id > %(after)s AND at < clock_timestamp() - %(kept)s
     ORDER BY id LIMIT %(most)s),
kept AS MATERIALIZED (
    SELECT cell, (SELECT id FROM lease.event newer WHERE newer.cell = one.cell
                   ORDER BY id DESC OFFSET %(newest)s - 1 LIMIT 1) AS since
      FROM (SELECT DISTINCT cell FROM old) AS one),
gone AS (
    DELETE FROM lease.event WHERE id = ANY (ARRAY (
        SELECT id FROM old JOIN kept USING (cell) WHERE id < since)))
SELECT max(id) FROM old HAVING count(*) = %(most)s
"""
_REQUESTS = """
DELETE FROM lease.request WHERE id IN (
    SELECT id FROM lease.request
     WHERE outcome IS NOT NULL AND at < clock_timestamp() - %(kept)s LIMIT %(most)s)
RETURNING id
"""


async def forget_old(control: Link, kept: timedelta) -> None:
    """All that is older. Raises Unreachable, or the database's own error."""
    limits = {"kept": kept, "most": MOST, "newest": NEWEST}
    after: int | None = 0
    while after is not None:
        found = await control.fetch(_EVENTS, {**limits, "after": after})
        after = found[0][0] if found else None
        await asyncio.sleep(BETWEEN_SECONDS if found else 0)
    while len(await control.fetch(_REQUESTS, limits)) == MOST:
        await asyncio.sleep(BETWEEN_SECONDS)


async def forget_forever(control: Link, kept: timedelta) -> None:
    """From time to time, over a connection that is closed meanwhile."""
    while True:
        await asyncio.sleep(PAUSE_SECONDS)
        try:
            await forget_old(control, kept)
        except (Unreachable, psycopg.Error) as error:
            log.warning("What is old is kept for now: %s", error)
        await control.close()
