"""Has one cell's tombstones collected from time to time, by one region's agent at a time.

Guarantees that it is said which region holds them, louder when it has done so for long: they are
kept as long as it takes.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

import psycopg

from regions.deployment import Deployment
from regions.errors import RegionsError
from regions.failover.link import Link, Unreachable
from regions.replication.collecting import collect
from regions.replication.verification import schedule
from regions.topology import CellSpec

log = logging.getLogger("meridian.replica")

LOOK_SECONDS = 60.0
EVERY = timedelta(hours=1)
LONG = timedelta(days=1)

_LAST = "SELECT collected_at, clock_timestamp() FROM fabric.member"


class Collector:
    """Of the cell's replica in `region`. Runs until cancelled."""

    def __init__(self, deployment: Deployment, region: str, spec: CellSpec, link: Link) -> None:
        self._deployment = deployment
        self._region = region
        self._spec = spec
        self._turn = spec.regions.index(region)
        self._link = link
        self._since: datetime | None = None

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                ((last, now),) = await self._link.fetch(_LAST)
            except (Unreachable, psycopg.Error):
                continue
            self._since = since = self._since or now
            if schedule.due(EVERY, last, now, since=since, turn=self._turn):
                await self._collect(now - (last or since))

    async def _collect(self, waited: timedelta) -> None:
        try:
            gone = await collect(self._deployment, self._spec, seen_from=self._region)
        except (RegionsError, psycopg.Error, OSError) as error:
            level = logging.ERROR if waited > LONG else logging.INFO
            log.log(
                level, "%s: tombstones are kept, for %s now: %s", self._spec.name, waited, error
            )
        else:
            log.info("%s: %s tombstones collected", self._spec.name, dict(gone.tombstones))
