"""Leaves requests with regions' agents, and watches what comes of them."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import psycopg

from regions.deployment import AGENT_ROLE, CONTROL_DATABASE, Deployment
from regions.errors import SwitchoverFailed
from regions.failover.plan import writer_of
from regions.topology import CellSpec

ASK_SECONDS = 12.0
LOOK_SECONDS = 0.02
MAP_SECONDS = 0.5
FAILURE_SECONDS = 5.0
_LEAVE = "INSERT INTO lease.request (id, cell, target, kind, forced) VALUES (%s, %s, %s, %s, %s)"
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
        with self._lock:
            self._execute(_LEAVE, (identity, *what))
            self._outcomes[identity] = None

    def outcome(self, identity: uuid.UUID) -> str | None:
        with self._lock:
            if time.monotonic() - self._looked > LOOK_SECONDS:
                waiting = [one for one, outcome in self._outcomes.items() if outcome is None]
                self._outcomes |= self._execute(_OUTCOMES, (waiting,)).fetchall()
                self._looked = time.monotonic()
            return self._outcomes[identity]

    def close(self) -> None:
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

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
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
            raise SwitchoverFailed(f"{source} cannot be reached: {error}") from error
        if outcome == "done":
            tell(f"{source} has fenced itself, drained and let go")
            return True
        if not forced:
            raise SwitchoverFailed(
                f"{outcome or f'{source} did not answer.'} {source} goes on writing."
            )
        return False

    def request(
        self, spec: CellSpec, region: str, target: str, kind: str, *, forced: bool
    ) -> str | None:
        """Leave a request with `region`'s agent; for a hand-over, wait for its outcome. It is done,
        too, when somebody else's has brought the cell there: agents heed the newest of a cell."""
        identity = uuid.uuid4()
        agent = self._agents[region]
        agent.leave(identity, spec.name, target, kind, forced)
        look = time.monotonic() + MAP_SECONDS
        deadline = time.monotonic() + (ASK_SECONDS if kind == "hand_over" else 0)
        while time.monotonic() < deadline:
            if outcome := agent.outcome(identity):
                return outcome
            if time.monotonic() > look:
                if writer_of(self.deployment, spec) == target:
                    return "done"
                look = time.monotonic() + MAP_SECONDS
            time.sleep(LOOK_SECONDS)
        return None


def asked_now(deployment: Deployment) -> list[str]:
    """What operators have asked agents for and is not done, as those regions know that answer."""
    found = []
    for region in deployment.regions:
        try:
            with psycopg.connect(
                deployment.dsn(region, CONTROL_DATABASE, AGENT_ROLE), connect_timeout=2
            ) as connection:
                found += connection.execute(_ASKED).fetchall()
        except psycopg.Error:
            continue
    return [f"{cell} is to be written by {target}" for cell, target in found]


def may_write(deployment: Deployment, spec: CellSpec, region: str) -> bool:
    """Whether the cell's gate is open there. Raises psycopg.Error."""
    with psycopg.connect(
        deployment.dsn(region, spec.database, AGENT_ROLE), connect_timeout=2
    ) as connection:
        row = connection.execute("SELECT fabric.may_write()").fetchone()
    return bool(row and row[0])
