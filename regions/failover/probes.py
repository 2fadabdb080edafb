"""An external ledger of writes: what was sent through the edge, what was acknowledged and by whom.

RTO and RPO are read from it, never from lag.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from types import TracebackType
from typing import ClassVar

import psycopg

from regions.deployment import ADMIN_ROLE, Deployment
from regions.topology import CellSpec

INTERVAL_SECONDS = 0.02
TIMEOUT_SECONDS = 2.0
APART_SECONDS = 0.015  # many cells' probes together: what measures must not be what is waited for


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One probe write that was answered with success, by `region`, at monotonic time `at`."""

    id: uuid.UUID
    region: str
    at: float


class Probes:
    """Writes to one cell through the edge, one after the other, until the block ends; in several
    lanes, so that a write which hangs does not hide that others go through again. The more cells
    are written to by this process at once, the longer is the pause between two writes of each."""

    _at_once: ClassVar[list[Probes]] = []

    def __init__(self, deployment: Deployment, spec: CellSpec, *, lanes: int = 1) -> None:
        self._deployment = deployment
        self._spec = spec
        self._acknowledged: list[Acknowledged] = []
        self._refused: list[float] = []
        self._headers = {
            "Host": deployment.probe_host(spec.name),
            "Authorization": f"Bearer {deployment.probe_token()}",
            "Content-Type": "application/json",
        }
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._write_forever, daemon=True) for _ in range(lanes)
        ]

    def __enter__(self) -> Probes:
        self._at_once.append(self)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._at_once.remove(self)

    def refused(self) -> list[float]:
        """When probes were answered with an error, or not at all, in monotonic time."""
        return list(self._refused)

    def acknowledged(self) -> list[Acknowledged]:
        return list(self._acknowledged)

    def first_from(self, region: str, *, after: float = 0.0) -> Acknowledged | None:
        """The first write that `region` acknowledged after that moment."""
        return next(
            (ack for ack in self._acknowledged if ack.region == region and ack.at > after), None
        )

    def last_not_from(self, region: str) -> Acknowledged | None:
        """The last write that another region acknowledged."""
        return next((ack for ack in reversed(self._acknowledged) if ack.region != region), None)

    def missing_in(self, region: str) -> int:
        """How many acknowledged writes `region` does not have: the RPO, in writes."""
        sent = [ack.id for ack in self._acknowledged]
        dsn = self._deployment.dsn(region, self._spec.database, ADMIN_ROLE)
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            row = connection.execute(
                "SELECT count(*) FROM fabric.probe WHERE id = ANY (%s)", (sent,)
            ).fetchone()
        return len(sent) - (row[0] if row else 0)

    def _write_forever(self) -> None:
        # Not httpx: a client of it takes as long to make as fifty of these writes, and each write
        # several times as long. What measures must not be what is waited for.
        edge = self._deployment.edge
        connection = HTTPConnection(edge.host, edge.port, timeout=TIMEOUT_SECONDS)
        while not self._stop.is_set():
            self._write_one(connection)
            time.sleep(max(INTERVAL_SECONDS, APART_SECONDS * len(self._at_once)))
        connection.close()

    def _write_one(self, connection: HTTPConnection) -> None:
        identity = uuid.uuid4()
        try:
            body = json.dumps({"id": str(identity)})
            connection.request("POST", "/healthz/probe", body, self._headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, HTTPException):
            connection.close()  # it opens again by itself
            self._refused.append(time.monotonic())
            return
        if answer.status == HTTPStatus.OK:
            region = json.loads(content)["region"]
            self._acknowledged.append(Acknowledged(identity, region, time.monotonic()))
        else:
            self._refused.append(time.monotonic())
