"""Has references mended that dangle in one cell's replica (`regions.replication.references`).

Looks only where something is deleted, and never for more than a small part of the time. A region
that may not write leaves it to one that may; where all may, the home's agent is the first to look.
"""

from __future__ import annotations

import asyncio
import logging
import time

import psycopg

from regions.deployment import AGENT_ROLE, Deployment
from regions.errors import RegionsError
from regions.failover.link import Link
from regions.replication.references import any_dangling, mend
from regions.replication.session import open_session
from regions.topology import CellSpec

log = logging.getLogger("meridian.replica")

LOOK_SECONDS = 10.0
TURN_SECONDS = 5.0
SHARE = 20  # a look that took a second is followed by so many without one

_CALLED_FOR = """
SELECT fabric.may_write() AND pressed IS NULL AND EXISTS (SELECT FROM fabric.tombstone)
  FROM fabric.gate
"""


class Mender:
    """Of the cell's replica in `region`. Runs until cancelled."""

    def __init__(self, deployment: Deployment, region: str, spec: CellSpec, link: Link) -> None:
        self._deployment = deployment
        self._region = region
        self._spec = spec
        self._turn = spec.regions.index(region)
        self._dsn = deployment.dsn(region, spec.database, AGENT_ROLE)
        self._link = link
        self._took = 0.0

    async def run(self) -> None:
        while len(self._spec.regions) > 1:
            self._took = 0.0
            try:
                await self._look()
            except (RegionsError, psycopg.Error, OSError) as error:
                log.info("%s: references are not mended: %s", self._spec.name, error)
            await asyncio.sleep(max(LOOK_SECONDS, self._took * SHARE))

    async def _look(self) -> None:
        ((called_for,),) = await self._link.fetch(_CALLED_FOR)
        if not called_for:
            return
        session = await open_session(self._dsn)
        try:
            began = time.monotonic()
            dangling = await any_dangling(session)
            self._took = time.monotonic() - began
            if not dangling:
                return
            # Whoever's turn is before may have done it by then.
            await asyncio.sleep(TURN_SECONDS * self._turn)
            if self._turn and not await any_dangling(session):
                return
            done = await mend(self._deployment, self._spec, session, seen_from=self._region)
        finally:
            await session.close()
        if done:
            log.warning("%s: %d dangling references mended", self._spec.name, done)
