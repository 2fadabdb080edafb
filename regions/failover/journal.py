"""What the agent is asked to do, and what it did and why: both in the local control database."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg

from regions.failover.decide import Action, Decision
from regions.failover.gathering import columns, written
from regions.failover.link import Connection, Link, Unreachable

log = logging.getLogger("meridian.agent")

_BEGIN = """
UPDATE lease.request SET begun = clock_timestamp()
 WHERE id = ANY (%s) AND outcome IS NULL RETURNING id
"""
_OPEN = """
SELECT at > clock_timestamp() - interval '30 s', id, cell, target, kind, forced, by, at
  FROM lease.request WHERE outcome IS NULL ORDER BY at, id
"""
_LAPSE = """
UPDATE lease.request SET outcome = 'lapsed: it was not done within 30 s'
 WHERE outcome IS NULL AND at <= clock_timestamp() - interval '30 s'
"""
_SETTLE = """
UPDATE lease.request asked SET outcome = told.outcome
  FROM (SELECT DISTINCT ON (cell, target, kind) *
          FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[])
               WITH ORDINALITY AS one(outcome, cell, target, kind, place)
         ORDER BY cell, target, kind, place) AS told
 WHERE asked.outcome IS NULL AND asked.cell = told.cell AND asked.target = told.target
   AND asked.kind = told.kind
"""
_EVENTS = """
INSERT INTO lease.event (region, cell, action, reason, epoch)
SELECT region, cell, action, reason, epoch
  FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[])
       WITH ORDINALITY AS one(region, cell, action, reason, epoch, place)
 ORDER BY place
"""

# The region, the cell, what was decided and why, in which epoch.
_Event = tuple[str, str, str, str, int | None]


@dataclass(frozen=True, slots=True)
class Request:
    """An operator's wish for one cell; `kind` is `hand_over` or `take`."""

    id: UUID
    cell: str
    target: str
    kind: str
    forced: bool
    by: str
    at: datetime

    @property
    def wish(self) -> tuple[str, str, str]:
        """The same of all who want the same."""
        return self.cell, self.target, self.kind


class Journal:
    """Reads requests, writes events; says a thing once, not at every turn of the loop."""

    def __init__(self, control: Link, region: str) -> None:
        self._control = control
        self._region = region
        self._said: dict[str, str] = {}
        self._begins = written(control, _begin_all)
        self._outcomes = written(control, _settle_all)
        self._events = written(control, _note_all)

    async def requests(self) -> list[Request]:
        """The open ones, the newest last. Old ones are nobody's wish any more, and are closed: an
        agent that died has not said how they ended."""
        rows = await self._control.fetch(_OPEN)
        if not all(heeded for heeded, *_ in rows):
            await self.attempt("request", self._control.fetch(_LAPSE))
        return [Request(*request) for heeded, *request in rows if heeded]

    async def begin(self, request: Request) -> bool:
        """From now on it can't be taken back. False: it was. Raises Unreachable."""
        return request.id in await self._begins.add(request.id)

    async def settle(self, request: Request, outcome: str) -> None:
        """Tell everybody who asked for the same, and has not been told, how it ended."""
        await self.attempt("request", self._outcomes.add((outcome, *request.wish)))

    async def event(self, cell: str, decision: Decision, epoch: int | None = None) -> None:
        """Log a decision, and keep it where the console finds it."""
        if self.say(cell, f"{decision.action}: {decision.reason}"):
            event = (self._region, cell, str(decision.action), decision.reason, epoch)
            await self.attempt(cell, self._events.add(event))

    async def reseed(self, cell: str, reason: str) -> None:
        """The same for a replica that is seeded again."""
        await self.event(cell, Decision(Action.RESEED, reason))

    def say(self, about: str, sentence: str) -> bool:
        """Log a sentence unless it was the last one said about this."""
        if self._said.get(about) == sentence:
            return False
        self._said[about] = sentence
        log.info("%s: %s", about, sentence)
        return True

    async def attempt(self, about: str, call: Awaitable[object]) -> None:
        """Do what can be done again at the next turn; log it if it failed."""
        try:
            await call
        except (Unreachable, psycopg.Error) as error:
            log.warning("%s: %s", about, error)


async def _begin_all(connection: Connection, requests: Sequence[UUID]) -> set[UUID]:
    begun = await connection.execute(_BEGIN, [list(requests)])
    return {identity for (identity,) in await begun.fetchall()}


async def _settle_all(connection: Connection, told: Sequence[tuple[str, ...]]) -> None:
    await connection.execute(_SETTLE, columns(told))


async def _note_all(connection: Connection, events: Sequence[_Event]) -> None:
    await connection.execute(_EVENTS, columns(events))
