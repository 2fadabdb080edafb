"""Clients in every region: each does one operation after the other, and notes what it was told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from random import Random
from typing import Any, Protocol

import psycopg
from django.db import DatabaseError

from regions.errors import RegionsError
from tests.faults.history import CLIENT, Event, Operation, Outcome
from tests.faults.workloads.base import NothingToDo, Workload

# The server had ended, or was ending: what it did with a COMMIT is not known.
LOST = ("08", "57P")


class Door(Protocol):
    """How a client gets into its region's replica."""

    def transaction(self, region: str) -> AbstractContextManager[Any]:
        """A cursor; commits at the end of the block."""

    def leave(self) -> None:
        """This thread is done."""

    def discard(self, region: str) -> None:
        """This thread's connection may be broken."""


def operations(
    seed: int, client: int, region: str, workloads: Sequence[Workload]
) -> Iterator[Operation]:
    """What a client does, without end: of the seed, and of nothing that happens."""
    random = Random(f"client {client} {seed}")
    number = client * CLIENT
    while True:
        number += 1
        yield random.choice(workloads).propose(random, number, region)


class Client(threading.Thread):
    """Runs until `stop`, at most `rate` operations a second. `events`: its part of the history."""

    def __init__(
        self,
        door: Door,
        plan: Iterator[Operation],
        workloads: dict[str, Workload],
        *,
        rate: float,
        began: float,
    ) -> None:
        super().__init__(daemon=True)
        self.events: list[Event] = []
        self._door = door
        self._plan = plan
        self._workloads = workloads
        self._pause = 1 / rate
        self._began = began
        self._ended = threading.Event()

    def stop(self) -> None:
        self._ended.set()

    def run(self) -> None:
        try:
            while not self._ended.wait(self._pause):
                self.events.append(self._attempt(next(self._plan)))
        finally:
            self._door.leave()

    def _attempt(self, operation: Operation) -> Event:
        invoked = self._now()
        outcome, reason = Outcome.OK, ""
        committing = False
        try:
            with self._door.transaction(operation.region) as cursor:
                seen, stamp = self._workloads[operation.workload].perform(cursor, operation)
                cursor.execute(
                    "INSERT INTO board_entry (id, about, seen, stamp) VALUES (%s, %s, %s, %s)",
                    (operation.number, operation.about, json.dumps(seen), stamp),
                )
                committing = True
        except NothingToDo:
            outcome = Outcome.FAIL
        except RegionsError as error:
            # The region is none of the cell's: nothing was sent anywhere.
            outcome, reason = Outcome.FAIL, str(error)
        except (DatabaseError, psycopg.Error) as error:
            state = sqlstate(error)
            unknown = committing and (state is None or state.startswith(LOST))
            outcome = Outcome.MAYBE if unknown else Outcome.FAIL
            reason = f"{state}: {str(error).splitlines()[0]}"
            self._door.discard(operation.region)
        return Event(operation, outcome, invoked, self._now(), reason)

    def _now(self) -> float:
        return time.monotonic() - self._began


def sqlstate(error: BaseException) -> str | None:
    """Django's errors have psycopg's as their cause."""
    cause = error if isinstance(error, psycopg.Error) else error.__cause__
    return getattr(cause, "sqlstate", None)
