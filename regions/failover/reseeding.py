"""Seeds this region's replica again when a peer has not kept its log for it long enough.

A slot is lost when its receiver was gone for too long, or when somebody dropped it: what the peer
wrote meanwhile never comes. Guarantees that this is noticed while both are up, that a new slot is
there before anything is compared, and that the gap is noted in the replica until a repair that
began after that has ended: whoever is interrupted goes on. Nothing that this replica has, and has
not sent, is lost: a repair merges.
"""

from __future__ import annotations

import asyncio
import logging
import time

import psycopg

from regions.cells import administrator
from regions.deployment import AGENT_ROLE
from regions.failover.keeping import Keeper, Kept
from regions.failover.link import Link, Unreachable
from regions.replication import transport
from regions.replication.position import CLOSE_GAPS, DISTRUST
from regions.replication.verify import verify

log = logging.getLogger("meridian.replica")

LOOK_SECONDS = 10.0
RETRY_SECONDS = 60.0  # comparing a whole cell is not for nothing
PATIENCE_SECONDS = 10.0  # whoever is further behind than that is waited for at the next look
SIGHTINGS = 2  # a cell that is being taken apart is without slots for a moment

# At the peer: whether it keeps its log for us, and whether it is a member at all now.
_KEPT = """
SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %s
                  AND database = current_database() AND wal_status <> 'lost'),
       fabric.kept_closed() IS NOT NULL,
       EXISTS (SELECT FROM fabric.expelled WHERE region = %s)
"""
_NOTE = "UPDATE fabric.watermark SET gap = coalesce(gap, clock_timestamp()) WHERE origin = %s"


class Reseeder(Keeper):
    sight = (
        "fabric.kept_closed() IS NOT NULL",
        """(SELECT coalesce(array_agg(region) FILTER (WHERE gap IS NOT NULL), '{}')
          FROM fabric.watermark)""",
        # Who beats within three seconds, and was heard of in ten, keeps his log for us.
        """(SELECT coalesce(array_agg(region), '{}') FROM fabric.watermark
         WHERE at > clock_timestamp() - interval '10 s' AND gap IS NULL)""",
    )
    failure = "not seeded again"

    def __init__(self, kept: Kept) -> None:
        super().__init__(kept)
        self._seen: dict[str, int] = {}
        self._again = 0.0
        self._peers = {
            name: Link(
                f"{kept.spec.name} in {name}",
                kept.deployment.dsn(name, kept.spec.database, AGENT_ROLE, seen_from=kept.region),
                timeout=2.0,
            )
            for name in kept.peers
        }

    @property
    def pause(self) -> float:
        return LOOK_SECONDS

    async def close(self) -> None:
        for peer in self._peers.values():
            await peer.close()

    async def take_turn(self, barred: bool, gaps: list[str], heard: list[str]) -> None:
        """Everything is linked again before anything is compared: that takes all of the links, and
        another may have been lost meanwhile."""
        if barred:
            return
        for name in self._peers:
            if name not in heard and await self._is_lost(name):
                await self.kept.say(
                    f"{name} did not keep its log for {self.kept.region} long enough."
                )
                await asyncio.to_thread(self._relink, name)
                gaps.append(name)
            elif name in gaps:
                await asyncio.to_thread(self._subscribe, name)
        silent = self._peers.keys() - {*heard, *gaps}
        if gaps and not silent and time.monotonic() >= self._again:
            verdict = await verify(
                self.kept.deployment,
                self.kept.spec,
                repair=True,
                by=f"reseed:{self.kept.region}",
                patience=PATIENCE_SECONDS,
                seen_from=self.kept.region,
            )
            if verdict.refusal:
                self._again = time.monotonic() + RETRY_SECONDS
                log.error("%s", verdict.refusal)
                return
            await self.kept.link.fetch(CLOSE_GAPS, (gaps,))
            await self.kept.say(
                f"{self.kept.region} has again what {', '.join(sorted(set(gaps)))} wrote:"
                f" {verdict.repaired} rows were brought over."
            )

    async def _is_lost(self, peer: str) -> bool:
        """Whether it was so at some looks in a row. A peer that is not there is asked again."""
        try:
            ((kept, barred, expelled),) = await self._peers[peer].fetch(
                _KEPT, (transport.slot_name(self.kept.spec, self.kept.region), self.kept.region)
            )
        except (Unreachable, psycopg.Error):
            return False
        finally:
            await self._peers[peer].close()
        if expelled:
            # This time the peers will say it.
            await self.kept.link.fetch(DISTRUST)
            return False
        self._seen[peer] = 0 if kept or barred else self._seen.get(peer, 0) + 1
        return self._seen[peer] >= SIGHTINGS

    def _relink(self, peer: str) -> None:
        database, spec, where = self.kept.spec.database, self.kept.spec, self.kept.deployment
        with administrator(where, self.kept.region, database) as here:
            here.execute(_NOTE, (where.region(peer).node,))
            transport.unsubscribe(here, spec, sender=peer)
            with administrator(where, peer, database, seen_from=self.kept.region) as there:
                transport.discard_slot(there, spec, to=self.kept.region)
                transport.ensure_slot(there, spec, to=self.kept.region)
        self._subscribe(peer)

    def _subscribe(self, peer: str) -> None:
        """Again, if somebody was interrupted before it."""
        with administrator(self.kept.deployment, self.kept.region, self.kept.spec.database) as here:
            transport.ensure_subscription(
                here, self.kept.deployment, self.kept.spec, sender=peer, receiver=self.kept.region
            )
