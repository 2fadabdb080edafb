"""The workers of a run: threads that carry out one unit after another.

Guarantees that a unit's failure is that unit's, and that each thread closes what it opened.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg
from django.db import Error as DjangoError
from django.db import OperationalError, connections

from regions.cli import one_line
from regions.errors import NotSettled, NoWriter
from tenants.errors import MoveFailed
from tenants.rollout.carry_out import Carrier, Manner
from tenants.rollout.models import RolloutUnit
from tenants.rollout.records import where_it_was
from tenants.rollout.templates import Templates
from tenants.rollout.units import Work

State = RolloutUnit.State
TOGETHER_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Event:
    """A unit was taken (state running) or has ended. `error` is for the terminal, `record` is
    without values."""

    work: Work
    state: str
    seconds: float = 0.0
    attempt: int = 1
    error: str = ""
    record: str = ""


class Crew:
    def __init__(self, templates: Templates, manner: Manner) -> None:
        self._templates = templates
        self._manner = manner
        self._orders: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def hand_out(self, works: list[Work]) -> None:
        for work in works:
            self._orders.put(work)

    def events(self, seconds: float) -> Iterator[Event]:
        """What has happened, after waiting so long for it. Several at a time: to be woken for each
        takes the interpreter from the workers."""
        time.sleep(TOGETHER_SECONDS)
        with suppress(queue.Empty):
            yield self._events.get(timeout=seconds)
            while True:
                yield self._events.get_nowait()

    def take_back(self) -> list[Work]:
        """What nobody has begun yet."""
        left: list[Work] = []
        while True:
            try:
                work = self._orders.get_nowait()
            except queue.Empty:
                return left
            if work is not None:
                left.append(work)

    @contextmanager
    def at_work(self, number: int) -> Iterator[None]:
        threads = [
            threading.Thread(target=self._work, name=f"migrate-{count}", daemon=True)
            for count in range(number)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for _ in threads:
                self._orders.put(None)
            for thread in threads:
                thread.join()

    def _work(self) -> None:
        carrier = Carrier(self._templates, self._manner)
        try:
            while (work := self._orders.get()) is not None:
                self._events.put(Event(work, State.RUNNING))
                self._events.put(_ended(carrier, work))
        finally:
            carrier.close()
            for connection in connections.all(initialized_only=True):
                connection.close()


def _ended(carrier: Carrier, work: Work) -> Event:
    began = time.monotonic()
    try:
        carrier.carry_out(work)
    except Exception as error:  # noqa: BLE001 - an app's migration may raise anything
        state = State.BLOCKED if _may_pass(error) else State.FAILED
        record = where_it_was(error)
        said = record if one_line(error) in record else f"{one_line(error)} ({record})"
        return Event(work, state, time.monotonic() - began, carrier.attempt, said, record)
    return Event(work, State.DONE, time.monotonic() - began, carrier.attempt)


def _may_pass(error: Exception) -> bool:
    """Whether it was nothing about this tenant: a lock, a connection, a lease, a slow peer, a
    transaction that didn't end."""
    cause = error.__cause__ if isinstance(error, DjangoError) else error
    passing = (OperationalError, NotSettled, NoWriter, MoveFailed)
    return isinstance(error, passing) or isinstance(cause, psycopg.OperationalError)
