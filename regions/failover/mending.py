"""Has references mended that dangle in one cell's replica (`regions.replication.references`).

Looks only where something is deleted, and never for more than a small part of the time. A region
that may not write leaves it to one that may; where all may, the home's agent is the first to look.
"""

from __future__ import annotations

import asyncio
import logging
import time

from regions.deployment import AGENT_ROLE
from regions.failover.keeping import Keeper, Kept
from regions.replication.references import any_dangling, mend
from regions.replication.session import open_session

log = logging.getLogger("meridian.replica")

LOOK_SECONDS = 10.0
TURN_SECONDS = 5.0
SHARE = 20  # a look that took a second is followed by so many without one


class Mender(Keeper):
    sight = ("fabric.may_write() AND g.pressed IS NULL AND EXISTS (SELECT FROM fabric.tombstone)",)
    failure = "references are not mended"

    def __init__(self, kept: Kept) -> None:
        super().__init__(kept)
        self._dsn = kept.deployment.dsn(kept.region, kept.spec.database, AGENT_ROLE)
        self._took = 0.0

    @property
    def pause(self) -> float:
        return max(LOOK_SECONDS, self._took * SHARE)

    async def take_turn(self, called_for: bool) -> None:
        self._took = 0.0
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
            await asyncio.sleep(TURN_SECONDS * self.kept.turn)
            if self.kept.turn and not await any_dangling(session):
                return
            region = self.kept.region
            done = await mend(self.kept.deployment, self.kept.spec, session, seen_from=region)
        finally:
            await session.close()
        if done:
            log.warning("%s: %d dangling references mended", self.kept.spec.name, done)
