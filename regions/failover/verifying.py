"""Has one cell's replicas compared when it is time, whether or not the control plane is there."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

import psycopg

from regions.deployment import Deployment
from regions.errors import RegionsError
from regions.failover.link import Link, Unreachable
from regions.replication.verification import schedule
from regions.replication.verify import verify
from regions.topology import CellSpec

log = logging.getLogger("meridian.replica")

LOOK_SECONDS = 30.0


class Verifier:
    """Of the cell's replica in `region`. Runs until cancelled; what it finds it says in the log,
    without naming a row, and keeps in `fabric.verification`."""

    def __init__(self, deployment: Deployment, region: str, spec: CellSpec, link: Link) -> None:
        self._deployment = deployment
        self._region = region
        self._spec = spec
        self._turn = spec.regions.index(region)
        self._link = link
        self._since: datetime | None = None

    async def run(self) -> None:
        while len(self._spec.regions) > 1:
            try:
                if await self._due():
                    await self._compare()
            except (RegionsError, psycopg.Error, OSError) as error:
                log.warning("%s: not compared: %s", self._spec.name, error)
            await asyncio.sleep(LOOK_SECONDS)

    async def _due(self) -> bool:
        try:
            ((every, last, now),) = await self._link.fetch(schedule.LAST)
        except Unreachable:
            return False
        self._since = self._since or now
        return schedule.due(every, last, now, since=self._since, turn=self._turn)

    async def _compare(self) -> None:
        verdict = await verify(
            self._deployment,
            self._spec,
            by=f"agent:{self._region}",
            seen_from=self._region,
        )
        if verdict.refusal:
            log.error("%s", verdict.refusal)
        else:
            log.info("%s: %d rows are equal everywhere", self._spec.name, verdict.rows)
