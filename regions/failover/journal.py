"""What the agent is asked to do, and what it did and why: both in the local control database."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg

from regions.failover.decide import Action, Decision
from regions.failover.link import Link, Unreachable

log = logging.getLogger("meridian.agent")

_BEGIN = """
UPDATE lease.request SET begun = clock_timestamp() WHERE id = %s AND outcome IS NULL RETURNING id
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
UPDATE lease.request SET outcome = %s
 WHERE outcome IS NULL AND cell = %s AND target = %s AND kind = %s
"""


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

    async def requests(self) -> list[Request]:
        """The open ones, the newest last. Old ones are nobody's wish any more, and are closed: an
        agent that died has not said how they ended."""
        rows = await self._control.fetch(_OPEN)
        if not all(heeded for heeded, *_ in rows):
            await self.attempt("request", self._control.fetch(_LAPSE))
        return [Request(*request) for heeded, *request in rows if heeded]

    async def begin(self, request: Request) -> bool:
        """From now on it can't be taken back. False: it was. Raises Unreachable."""
        return bool(await self._control.fetch(_BEGIN, (request.id,)))

    async def settle(self, request: Request, outcome: str) -> None:
        """Tell everybody who asked for the same, and has not been told, how it ended."""
        await self.attempt("request", self._control.fetch(_SETTLE, (outcome, *request.wish)))

    async def event(self, cell: str, decision: Decision, epoch: int | None = None) -> None:
        """Log a decision, and keep it where the console finds it."""
        if self.say(cell, f"{decision.action}: {decision.reason}"):
            await self.attempt(
                cell,
                self._control.fetch(
                    "INSERT INTO lease.event (region, cell, action, reason, epoch)"
                    " VALUES (%s, %s, %s, %s, %s)",
                    (self._region, cell, decision.action, decision.reason, epoch),
                ),
            )

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
