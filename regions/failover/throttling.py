"""Keeps one cell's replica within its log budget (`regions.replication.budget`).

Guarantees that what this replica keeps for a peer, and what it has received and not applied, stops
growing beyond the budget as the cell declares: the peer is let go, or writers are slowed and then
refused, and of an origin that is too far ahead nothing is received for a time. Others go on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from psycopg import sql

from regions.cells import administrator
from regions.failover.keeping import Keeper, Kept
from regions.replication import transport
from regions.replication.budget import Budget, Over, Owed, paused, press

log = logging.getLogger("meridian.replica")

LOOK_SECONDS = 2.0

_PRESS = "UPDATE fabric.gate SET pressed = %s, slowed_ms = %s"
_NOTE = "UPDATE fabric.watermark SET paused = CASE WHEN %s THEN now() END WHERE region = %s"


class Throttle(Keeper):
    sight = (
        "m.log_budget",
        "m.over_budget",
        "(g.pressed, g.slowed_ms) IS DISTINCT FROM (NULL, NULL)",
        """(SELECT jsonb_object_agg(slot_name, jsonb_build_array(
               pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn), active))
          FROM pg_replication_slots
         WHERE database = current_database() AND slot_type = 'logical' AND wal_status <> 'lost'
           AND confirmed_flush_lsn IS NOT NULL)""",  # null: it is being made
        """(SELECT jsonb_object_agg(w.region, jsonb_build_array(
               (SELECT coalesce(sum(pg_column_size(c.rows)), 0) FROM fabric.change c
                 WHERE c.origin = w.origin AND c.arrival > w.arrival), w.paused IS NOT NULL))
          FROM fabric.watermark w)""",
    )
    failure = "its log's budget is not watched"

    def __init__(self, kept: Kept) -> None:
        super().__init__(kept)
        self._name = f"{kept.spec.name} in {kept.region}"
        self._warned = False

    @property
    def pause(self) -> float:
        return LOOK_SECONDS

    async def take_turn(
        self, size: int, over: str, pressed: bool, slots: Any, origins: Any
    ) -> None:
        budget = Budget(size, Over(over))
        owed = [
            Owed(peer, *slots[slot])
            for peer in self.kept.peers
            if (slot := transport.slot_name(self.kept.spec, peer)) in (slots or {})
        ]
        pressure = press(budget, owed)
        if pressed or pressure.reason is not None:
            await self.kept.link.fetch(_PRESS, (pressure.reason, pressure.slowed_ms))
        if pressure.warning and not self._warned:
            log.warning("%s: %s", self._name, pressure.warning)
        self._warned = pressure.warning is not None
        for peer in pressure.let_go:
            await asyncio.to_thread(self._let_go, peer)
            await self.kept.say(f"{peer} was let go in {self.kept.region}: {pressure.warning}.")
        await self._pause(budget, origins or {})

    async def _pause(self, budget: Budget, origins: dict[str, Any]) -> None:
        now = {origin for origin, (_, is_paused) in origins.items() if is_paused}
        then = paused(budget, {origin: size for origin, (size, _) in origins.items()}, now)
        for origin in now ^ then:
            await asyncio.to_thread(self._subscription, origin, enabled=origin in now)
            await self.kept.link.fetch(_NOTE, (origin in then, origin))
            what = "nothing more is taken from" if origin in then else "it hears again from"
            log.warning("%s: %s %s", self._name, what, origin)

    def _let_go(self, peer: str) -> None:
        kept = self.kept
        with administrator(kept.deployment, kept.region, kept.spec.database) as here:
            transport.discard_slot(here, kept.spec, to=peer)

    def _subscription(self, origin: str, *, enabled: bool) -> None:
        kept = self.kept
        name = transport.subscription_name(kept.spec, origin)
        with administrator(kept.deployment, kept.region, kept.spec.database) as here:
            here.execute(
                sql.SQL("ALTER SUBSCRIPTION {} {}").format(
                    sql.Identifier(name), sql.SQL("ENABLE" if enabled else "DISABLE")
                )
            )
