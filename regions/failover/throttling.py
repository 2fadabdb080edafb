"""Keeps one cell's replica within its log budget (`regions.replication.budget`).

Guarantees that what this replica keeps for a peer, and what it has received and not applied, stops
growing beyond the budget as the cell declares: the peer is let go, or writers are slowed and then
refused, and of an origin that is too far ahead nothing is received for a time. Others go on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import psycopg
from psycopg import sql

from regions.cells import administrator
from regions.deployment import Deployment
from regions.failover.link import Link, Unreachable
from regions.failover.reseeding import Tell
from regions.replication import transport
from regions.replication.budget import Budget, Over, Owed, paused, press
from regions.topology import CellSpec

log = logging.getLogger("meridian.replica")

LOOK_SECONDS = 2.0

_LOOK = """
SELECT m.log_budget, m.over_budget,
       (SELECT jsonb_object_agg(slot_name, jsonb_build_array(
               pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn), active))
          FROM pg_replication_slots
         WHERE database = current_database() AND slot_type = 'logical' AND wal_status <> 'lost'
           AND confirmed_flush_lsn IS NOT NULL), -- null: it is being made
       (SELECT jsonb_object_agg(w.region, jsonb_build_array(
               (SELECT coalesce(sum(pg_column_size(c.rows)), 0) FROM fabric.change c
                 WHERE c.origin = w.origin AND c.arrival > w.arrival), w.paused IS NOT NULL))
          FROM fabric.watermark w)
  FROM fabric.member m
"""
_PRESS = """
UPDATE fabric.gate SET pressed = told.pressed, slowed_ms = told.slowed_ms
  FROM (SELECT %s::text AS pressed, %s::integer AS slowed_ms) AS told
 WHERE (gate.pressed, gate.slowed_ms) IS DISTINCT FROM (told.pressed, told.slowed_ms)
"""
_NOTE = "UPDATE fabric.watermark SET paused = CASE WHEN %s THEN now() END WHERE region = %s"


class Throttle:
    """Of the cell's replica in `region`. Runs until cancelled."""

    def __init__(
        self, deployment: Deployment, region: str, spec: CellSpec, link: Link, tell: Tell | None
    ) -> None:
        self._deployment = deployment
        self._region = region
        self._spec = spec
        self._link = link
        self._tell = tell
        self._warned = False

    async def run(self) -> None:
        while len(self._spec.regions) > 1:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except (Unreachable, psycopg.Error, OSError) as error:
                log.warning("%s: its log's budget is not watched: %s", self._spec.name, error)

    async def _look(self) -> None:
        ((size, over, slots, origins),) = await self._link.fetch(_LOOK)
        budget = Budget(size, Over(over))
        owed = [
            Owed(peer, *slots[slot])
            for peer in self._spec.regions
            if (slot := transport.slot_name(self._spec, peer)) in (slots or {})
        ]
        pressure = press(budget, owed)
        await self._link.fetch(_PRESS, (pressure.reason, pressure.slowed_ms))
        if pressure.warning and not self._warned:
            log.warning("%s in %s: %s", self._spec.name, self._region, pressure.warning)
        self._warned = pressure.warning is not None
        for peer in pressure.let_go:
            await asyncio.to_thread(self._let_go, peer)
            await self._say(f"{peer} was let go in {self._region}: {pressure.warning}.")
        await self._pause(budget, origins or {})

    async def _pause(self, budget: Budget, origins: dict[str, Any]) -> None:
        now = {origin for origin, (_, is_paused) in origins.items() if is_paused}
        then = paused(budget, {origin: size for origin, (size, _) in origins.items()}, now)
        for origin in now ^ then:
            await asyncio.to_thread(self._subscription, origin, enabled=origin in now)
            await self._link.fetch(_NOTE, (origin in then, origin))
            what = "nothing more is taken from" if origin in then else "it hears again from"
            log.warning("%s in %s: %s %s", self._spec.name, self._region, what, origin)

    def _let_go(self, peer: str) -> None:
        with administrator(self._deployment, self._region, self._spec.database) as here:
            transport.discard_slot(here, self._spec, to=peer)

    def _subscription(self, origin: str, *, enabled: bool) -> None:
        name = transport.subscription_name(self._spec, origin)
        with administrator(self._deployment, self._region, self._spec.database) as here:
            here.execute(
                sql.SQL("ALTER SUBSCRIPTION {} {}").format(
                    sql.Identifier(name), sql.SQL("ENABLE" if enabled else "DISABLE")
                )
            )

    async def _say(self, what: str) -> None:
        log.warning("%s: %s", self._spec.name, what)
        if self._tell is not None:
            await self._tell(what)
