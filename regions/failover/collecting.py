"""Has one cell's tombstones collected from time to time, by one region's agent at a time.

Guarantees that it is said which region holds them, louder when it has done so for long: they are
kept as long as it takes.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

import psycopg

from regions.errors import RegionsError
from regions.failover.keeping import Keeper, Kept
from regions.replication.collecting import collect
from regions.replication.verification import schedule

log = logging.getLogger("meridian.replica")

LOOK_SECONDS = 60.0
EVERY = timedelta(hours=1)
LONG = timedelta(days=1)


class Collector(Keeper):
    sight = ("m.collected_at", "clock_timestamp()")
    failure = "tombstones are kept"

    def __init__(self, kept: Kept) -> None:
        super().__init__(kept)
        self._since: datetime | None = None

    @property
    def pause(self) -> float:
        return LOOK_SECONDS

    async def take_turn(self, last: datetime | None, now: datetime) -> None:
        self._since = since = self._since or now
        if schedule.due(EVERY, last, now, since=since, turn=self.kept.turn):
            await self._collect(now - (last or since))

    async def _collect(self, waited: timedelta) -> None:
        name = self.kept.spec.name
        try:
            gone = await collect(self.kept.deployment, self.kept.spec, seen_from=self.kept.region)
        except (RegionsError, psycopg.Error, OSError) as error:
            level = logging.ERROR if waited > LONG else logging.INFO
            log.log(level, "%s: %s, for %s now: %s", name, self.failure, waited, error)
        else:
            log.info("%s: %s tombstones collected", name, dict(gone.tombstones))
