"""Leaves requests with regions' agents, and watches what comes of them."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg

from regions.deployment import AGENT_ROLE, CONTROL_DATABASE, Deployment
from regions.errors import SwitchoverFailed
from regions.failover.lease import RESERVED_SECONDS
from regions.failover.plan import writer_of
from regions.failover.wishes import OVERTAKEN
from regions.topology import CellSpec, read_leases

ASK_SECONDS = 12.0
LOOK_SECONDS = 0.02
MAP_SECONDS = 0.5
FAILURE_SECONDS = 5.0
# A busy server's, which answers in the end; one that is gone says so.
_LATE = (psycopg.errors.QueryCanceled, psycopg.errors.ConnectionTimeout)
MOVED = "moved"  # as the map says, not its agent
_LEAVE = """
INSERT INTO lease.request (id, cell, target, kind, forced, by) VALUES (%s, %s, %s, %s, %s, %s)
"""
# What an agent has begun it ends, soon.
_TAKE_BACK = """
UPDATE lease.request SET outcome = 'taken back'
 WHERE id = ANY (%s) AND outcome IS NULL AND (begun IS NULL OR %s) RETURNING id
"""
_OUTCOMES = "SELECT id, outcome FROM lease.request WHERE id = ANY (%s) AND outcome <> ''"
# Agents heed none that is older.
_ASKED = """
SELECT cell, target FROM lease.request
 WHERE outcome IS NULL AND at > clock_timestamp() - interval '30 s' ORDER BY at
"""


class _Agent:
    """What one region's is asked, by several threads over one connection. Raises
    psycopg.OperationalError: to all who ask for some seconds, as each would wait for it."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._failure: psycopg.OperationalError | None = None
        self._failed_at = 0.0
        self._outcomes: dict[uuid.UUID, str | None] = {}
        self._looked = 0.0

    def leave(self, identity: uuid.UUID, *what: object) -> None:
        """May have been heard although it raises: then it is to be taken back, too."""
        with self._lock:
            self._outcomes[identity] = None
            self._execute(_LEAVE, (identity, *what))

    def outcome(self, identity: uuid.UUID) -> str | None:
        with self._lock:
            if time.monotonic() - self._looked > LOOK_SECONDS:
                waiting = [one for one, outcome in self._outcomes.items() if outcome is None]
                self._outcomes |= self._execute(_OUTCOMES, (waiting,)).fetchall()
                self._looked = time.monotonic()
            return self._outcomes[identity]

    def take_back(self, identity: uuid.UUID, *, begun: bool) -> bool:
        """Whether it won't be done any more; `begun`: although it was begun."""
        with self._lock:
            return self._execute(_TAKE_BACK, ([identity], begun)).fetchone() is not None

    def close(self) -> None:
        """What nobody waits for any more is not to be done."""
        with self._lock:
            left = [one for one, outcome in self._outcomes.items() if outcome is None]
            self._failure = None  # it may answer again
            with suppress(psycopg.OperationalError):
                if left:
                    self._execute(_TAKE_BACK, (left, False))
            if self._connection is not None:
                self._connection.close()

    def _execute(self, query: Any, params: tuple[object, ...]) -> psycopg.Cursor[tuple[Any, ...]]:
        if self._failure is not None and time.monotonic() - self._failed_at < FAILURE_SECONDS:
            raise self._failure
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(
                    self._dsn,
                    autocommit=True,
                    connect_timeout=2,
                    options="-c statement_timeout=2s",
                )
            return self._connection.execute(query, params)
        except psycopg.OperationalError as error:
            self._failure, self._failed_at = error, time.monotonic()
            if self._connection is not None:
                self._connection.close()
            raise


class Asking:
    """One operation's requests, of however many cells: one connection a region."""

    def __init__(self, deployment: Deployment, *, by: str) -> None:
        self.deployment = deployment
        self._by = by
        self._agents = {
            name: _Agent(deployment.dsn(name, CONTROL_DATABASE, AGENT_ROLE))
            for name in deployment.regions
        }

    def close(self) -> None:
        for agent in self._agents.values():
            agent.close()

    def holder(
        self,
        spec: CellSpec,
        source: str,
        target: str,
        *,
        forced: bool,
        tell: Callable[[str], None],
    ) -> bool:
        """Have the holder's agent hand over. False: nobody there to ask (only when forced)."""
        try:
            outcome = self.request(spec, source, target, "hand_over", forced=forced)
        except psycopg.OperationalError as error:
            if forced:
                return False
            raise SwitchoverFailed(
                f"{source} cannot be reached: {error} If it has heard of this, {spec.name} moves "
                "within 30 s, or not at all."
            ) from error
        if outcome == MOVED:
            tell(f"{target} writes it now; {source} has not said how")
            return True
        if outcome == "done":
            tell(f"{source} has fenced itself, drained and let go")
            return True
        if not forced or (outcome or "").startswith(OVERTAKEN):
            raise SwitchoverFailed(
                outcome or f"{source} did not answer in time, and was asked no more."
            )
        return False

    def request(
        self, spec: CellSpec, region: str, target: str, kind: str, *, forced: bool
    ) -> str | None:
        """Leave a request with `region`'s agent; for a hand-over, wait for its outcome, or until
        the cell has moved: somebody else asked for the same, or the agent is gone and its lease has
        ended. What is not done in time is taken back: who is told that it failed can go by that."""
        identity = uuid.uuid4()
        agent = self._agents[region]
        agent.leave(identity, spec.name, target, kind, forced, self._by)
        look = time.monotonic() + MAP_SECONDS
        if kind == "take":
            return None
        for begun in (False, True):
            deadline = time.monotonic() + ASK_SECONDS
            while time.monotonic() < deadline:
                try:
                    if outcome := agent.outcome(identity):
                        return outcome
                except _LATE:
                    # The request stands. Who insists does not wait for what may be frozen.
                    if forced:
                        raise
                if time.monotonic() > look:
                    if writer_of(self.deployment, spec) == target:
                        return MOVED
                    look = time.monotonic() + MAP_SECONDS
                time.sleep(LOOK_SECONDS)
            with suppress(*_LATE):
                if agent.take_back(identity, begun=begun):
                    return None
        return agent.outcome(identity)


def asked_now(deployment: Deployment) -> list[str]:
    """What operators have asked agents for and is not done, as those regions know that answer."""
    return [f"{cell} is to be written by {target}" for cell, target in _asked(deployment)]


def _asked(deployment: Deployment) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for region in deployment.regions:
        try:
            with psycopg.connect(
                deployment.dsn(region, CONTROL_DATABASE, AGENT_ROLE), connect_timeout=2
            ) as connection:
                found += connection.execute(_ASKED).fetchall()
        except psycopg.Error:
            continue
    return found


def await_arrivals(deployment: Deployment, region: str) -> None:
    """Return when nothing that was asked for before is under way to `region`."""
    while coming := [cell for cell, target in _asked(deployment) if target == region]:
        deadline = time.monotonic() + RESERVED_SECONDS
        while time.monotonic() < deadline and set(coming) - _written_in(deployment, region):
            time.sleep(MAP_SECONDS)


def _written_in(deployment: Deployment, region: str) -> set[str]:
    leases = read_leases(deployment.map_dirs)
    return {name for name, lease in leases.items() if lease.writer == region}


def may_write(deployment: Deployment, spec: CellSpec, region: str) -> bool:
    """Whether the cell's gate is open there. Raises psycopg.Error."""
    with psycopg.connect(
        deployment.dsn(region, spec.database, AGENT_ROLE), connect_timeout=2
    ) as connection:
        row = connection.execute("SELECT fabric.may_write()").fetchone()
    return bool(row and row[0])
