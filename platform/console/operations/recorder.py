"""Writes an operation's progress while the operation itself runs on, undisturbed.

Guarantees that reporting a step never waits for a database (the control cell may be the very
thing that moves), that a step which cannot be written is dropped, that a worker which lives is
heard from though it has nothing to tell, and that the end is written, at the control cell's writer,
wherever that is by then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import psycopg
from django.db import Error as DatabaseError
from django.db import close_old_connections, connections
from django.db.models.functions import Now

from regions.errors import RegionsError, SwitchoverFailed
from tenants.databases import control_writer_alias
from tenants.models import Operation

T = TypeVar("T")

RECORD_SECONDS = 60.0
BEAT_SECONDS = 5.0
STEP_LENGTH = 200
UNREACHABLE = (DatabaseError, psycopg.Error, RegionsError)


class Step(Protocol):
    """Tells what is being done now."""

    def __call__(self, sentence: str, percent: int | None = None, /) -> None: ...


class Recorder:
    """A thread that writes the newest step; `step` may be called from any thread."""

    def __init__(self, operation_id: str) -> None:
        self._id = operation_id
        self._steps: SimpleQueue[tuple[str, int | None] | None] = SimpleQueue()
        self._thread = Thread(target=self._write_steps, name="operation-recorder", daemon=True)
        self._given_up = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._steps.put(None)
        self._thread.join()

    def step(self, sentence: str, percent: int | None = None) -> None:
        """Without `percent` the bar goes on a little, and never reaches its end. Raises
        SwitchoverFailed once the operation has been ended by others."""
        if self._given_up:
            raise SwitchoverFailed("It was given up, as nothing was heard of its worker.")
        self._steps.put((sentence, percent))

    def _write_steps(self) -> None:
        percent = 0
        try:
            while True:
                values: dict[str, Any] = {}
                try:
                    said = self._steps.get(timeout=BEAT_SECONDS)
                except Empty:
                    pass
                else:
                    if said is None:
                        return
                    sentence, known = said
                    percent = percent + max(1, (95 - percent) // 8) if known is None else known
                    values = {"step": sentence[:STEP_LENGTH], "percent": min(percent, 95)}
                with suppress(*UNREACHABLE):
                    known_here = write(self._id, Operation.State.RUNNING, **values)
                    self._given_up = self._given_up or not known_here
        finally:
            connections.close_all()


def write(operation_id: str, *states: str, **values: Any) -> bool:
    """One update at the control cell's writer, on a connection that works; with `states`, only of
    an operation that is in one of these. False: there is none."""
    close_old_connections()
    rows = Operation.objects.using(control_writer_alias()).filter(id=operation_id)
    rows = rows.filter(state__in=states) if states else rows
    return bool(rows.update(updated_at=Now(), **values))


def write_end(operation_id: str, **values: Any) -> None:
    patiently(lambda: write(operation_id, **values))


def patiently(work: Callable[[], T]) -> T:
    """For up to a minute: the control cell may have no writer at this moment."""
    deadline = time.monotonic() + RECORD_SECONDS
    while True:
        try:
            return work()
        except UNREACHABLE:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
