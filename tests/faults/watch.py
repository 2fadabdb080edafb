"""Looks at a replica all the time: when an operation is there, and whether one is by half."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

import psycopg

from tests.faults.history import CLIENT, Event, Outcome
from tests.faults.workloads import bank, batches

LOOK_SECONDS = 0.1
_ARRIVED = f"""
SELECT client, (SELECT max(id) FROM board_entry WHERE id > client * {CLIENT}::bigint
                   AND id < (client + 1) * {CLIENT}::bigint)
  FROM unnest(%s::int[]) client
"""


class Watch(threading.Thread):
    """Of one region, until `stop`. `torn` are sentences about transactions that were half there;
    `early` counts looks at which a third region's word was ahead of a transaction's other half."""

    def __init__(self, region: str, dsn: str, clients: Iterable[int], began: float) -> None:
        super().__init__(daemon=True)
        self.region = region
        self.torn: set[str] = set()
        self.early = 0
        # By client: (when, the newest operation that was there)
        self.arrivals: dict[int, list[tuple[float, int]]] = {client: [] for client in clients}
        self._dsn = dsn
        self._began = began
        self._ended = threading.Event()

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                with psycopg.connect(self._dsn, autocommit=True, connect_timeout=2) as session:
                    while not self._ended.wait(LOOK_SECONDS):
                        self._look(session)
            except psycopg.Error:
                self._ended.wait(LOOK_SECONDS)

    def _look(self, session: psycopg.Connection[Any]) -> None:
        # An entry comes with its batch: what is older has been looked at.
        known = [seen[-1][1] if seen else 0 for seen in self.arrivals.values()]
        lows = [max(low, client * CLIENT) for client, low in zip(self.arrivals, known, strict=True)]
        highs = [(client + 1) * CLIENT for client in self.arrivals]
        rows = session.execute(_ARRIVED, (list(self.arrivals),)).fetchall()
        now = time.monotonic() - self._began
        for client, newest in rows:
            seen = self.arrivals[client]
            if newest is not None and (not seen or seen[-1][1] < newest):
                seen.append((now, newest))
        for batch, found in session.execute(batches.HALVES, (lows, highs)).fetchall():
            self.torn.add(f"{self.region} had {found} rows of batch {batch}")
        for group, total in session.execute(bank.TOTALS).fetchall():
            if group == bank.COMMON:
                self.early += 1
            else:
                self.torn.add(f"{self.region} had {total} in the accounts of region {group}")

    def delays(self, events: Iterable[Event]) -> list[float]:
        """Seconds from each operation's acknowledgement elsewhere until it was seen here: a
        client's operations arrive in their order."""
        found = []
        for event in events:
            operation = event.operation
            if event.outcome is not Outcome.OK or operation.region == self.region:
                continue
            for when, newest in self.arrivals[operation.number // CLIENT]:
                if newest >= operation.number:
                    found.append(max(0.0, when - event.completed))
                    break
        return found
