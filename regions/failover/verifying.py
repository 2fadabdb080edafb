"""Has one cell's replicas compared when it is time, whether or not the control plane is there."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from regions.failover.keeping import Keeper, Kept
from regions.replication.verification import schedule
from regions.replication.verify import verify

log = logging.getLogger("meridian.replica")

LOOK_SECONDS = 30.0


class Verifier(Keeper):
    """What it finds it says in the log, without naming a row, and keeps in
    `fabric.verification`."""

    sight = schedule.SIGHT
    failure = "not compared"

    def __init__(self, kept: Kept) -> None:
        super().__init__(kept)
        self._since: datetime | None = None

    @property
    def pause(self) -> float:
        return LOOK_SECONDS if self._since else 0.0

    async def take_turn(
        self, every: timedelta | None, last: datetime | None, now: datetime
    ) -> None:
        self._since = self._since or now
        if not schedule.due(every, last, now, since=self._since, turn=self.kept.turn):
            return
        region = self.kept.region
        verdict = await verify(
            self.kept.deployment, self.kept.spec, by=f"agent:{region}", seen_from=region
        )
        if verdict.refusal:
            log.error("%s", verdict.refusal)
        else:
            log.info("%s: %d rows are equal everywhere", self.kept.spec.name, verdict.rows)
