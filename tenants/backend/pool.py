"""The connections of this process to all its cells: bounded, shared by its threads, recycled.

Guarantees: never more connections than `limits.per_database` to one database and `limits.total` in
all; an idle one makes room for another cell's, the longest idle first; who finds all of them in use
waits `limits.wait_seconds` at most and is then refused with Saturated. A connection is used by one
thread at a time, and goes back only when it is as good as new: no transaction, autocommit.

A PostgreSQL backend keeps what it has learnt of each schema's tables (some 80 KB each), so where
tenants have schemas of their own, a tenant's requests go to a connection that knows its schema
already, and one that knows `limits.schemas` of them is closed instead of used again. For one that
knows it and is in use they wait `limits.patience` seconds: to learn it takes another several times
the work of an ordinary request, and memory for good.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import OperationalError
from psycopg import Connection
from psycopg.pq import TransactionStatus

from tenants.once import Once

Key = tuple[Any, ...]


class Saturated(OperationalError):
    """Every connection that this process may have to a database is in use."""

    sqlstate = "53300"


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections a process has. `schemas`: after how many it gives one up. `patience`:
    how long to wait for one that knows the schema before another learns it."""

    total: int = 64
    per_database: int = 16
    wait_seconds: float = 2.0
    idle_seconds: float = 60.0
    schemas: int = 250
    patience: float = 0.005


@dataclass(slots=True)
class Idle:
    """A connection that waits for work."""

    key: Key
    connection: Connection[Any]
    since: float


class Pool:
    """One process' connections."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.waited = 0
        self.refused = 0
        self.recycled = 0
        # The lock itself is entered: a condition takes a call to say the same.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        # The longest idle first.
        self._idle: OrderedDict[int, Idle] = OrderedDict()
        self._stacks: defaultdict[Key, list[Idle]] = defaultdict(list)
        self._used: Counter[Key] = Counter()
        self._holders: dict[int, tuple[weakref.ref[Any], Key, Connection[Any]]] = {}
        self._schemas: dict[int, set[str]] = {}

    def take(
        self,
        key: Key,
        holder: Any,
        open_one: Callable[[], Connection[Any]],
        schema: str | None = None,
    ) -> tuple[Connection[Any], bool]:
        """A connection to `key`'s database, and whether it was used before. `schema`: whose tables
        it will be used for, where there are many. Raises Saturated."""
        with self._lock:
            connection, leaving = self._wait(key, schema)
            self._used[key] += 1
            if connection is not None:
                self._holders[id(connection)] = (weakref.ref(holder), key, connection)
        if leaving is not None:
            leaving.close()
        if connection is not None:
            return connection, True
        try:
            connection = open_one()
        except BaseException:
            self._release(key)
            raise
        with self._lock:
            self._holders[id(connection)] = (weakref.ref(holder), key, connection)
            self._schemas[id(connection)] = set() if schema is None else {schema}
        return connection, False

    def give_back(self, key: Key, connection: Connection[Any], *, clean: bool = True) -> None:
        """Take it for the next one, or close it if it isn't fit for that."""
        known = self._schemas.get(id(connection), ())
        worn = len(known) >= self.limits.schemas
        broken = connection.closed or connection.broken
        fit = (
            clean
            and not worn
            and not broken
            and connection.pgconn.transaction_status == TransactionStatus.IDLE
            and connection.autocommit
        )
        if fit:
            now = time.monotonic()
            with self._lock:
                self._holders.pop(id(connection), None)
                self._used[key] -= 1
                idle = Idle(key, connection, now)
                self._idle[id(connection)] = idle
                self._stacks[key].append(idle)
                self._changed.notify_all()
                expired = self._expire(now)
            for each in expired:
                each.close()
            return
        self.recycled += worn
        connection.close()
        with self._lock:
            self._holders.pop(id(connection), None)
            self._schemas.pop(id(connection), None)
        self._release(key)
        if broken:
            # The server has gone or ended its sessions: the others are as dead, or younger.
            self.forget(key)

    def forget(self, key: Key | None = None) -> None:
        """Close the idle connections to one database, or all."""
        with self._lock:
            gone = [idle for idle in self._idle.values() if key in (None, idle.key)]
            for idle in gone:
                self._drop(idle)
        for idle in gone:
            idle.connection.close()

    def counts(self) -> tuple[int, int]:
        """(in use, idle)"""
        with self._lock:
            return sum(self._used.values()), len(self._idle)

    def _wait(
        self, key: Key, schema: str | None
    ) -> tuple[Connection[Any] | None, Connection[Any] | None]:
        """An idle connection, or None where one may be opened; and the one that leaves for it."""
        deadline = None
        if schema is not None:
            self._be_patient(key, schema)
        while True:
            free = sum(self._used.values()) + len(self._idle) < self.limits.total
            mine = self._used[key] + len(self._stacks[key]) < self.limits.per_database
            if idle := self._choose(key, schema, may_open=free and mine):
                self._drop(idle, keep=True)
                return idle.connection, None
            if mine and free:
                return None, None
            if mine and self._idle:
                oldest = next(iter(self._idle.values()))
                self._drop(oldest)
                return None, oldest.connection
            if self._reclaim():
                continue
            if deadline is None:
                deadline = time.monotonic() + self.limits.wait_seconds
                self.waited += 1
            left = deadline - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                self.refused += 1
                raise Saturated(
                    f"All {self.limits.per_database} connections to one database, or all "
                    f"{self.limits.total} of this process, are in use: try again, or raise "
                    "MERIDIAN_POOL."
                )

    def _be_patient(self, key: Key, schema: str) -> None:
        """As long as those that know the schema are all in use, or until it takes too long."""
        until = None
        while not any(schema in self._schemas[id(idle.connection)] for idle in self._stacks[key]):
            if not any(
                used == key and schema in self._schemas.get(number, ())
                for number, (_, used, _) in self._holders.items()
            ):
                return
            until = until or time.monotonic() + self.limits.patience
            left = until - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                return

    def _choose(self, key: Key, schema: str | None, *, may_open: bool) -> Idle | None:
        stack = self._stacks[key]
        if not stack or schema is None:
            return stack[-1] if stack else None
        for idle in stack:
            if schema in self._schemas[id(idle.connection)]:
                return idle
        if may_open:
            return None
        # Spread evenly: each connection knows its share of the schemas.
        chosen = min(stack, key=lambda idle: len(self._schemas[id(idle.connection)]))
        self._schemas[id(chosen.connection)].add(schema)
        return chosen

    def _reclaim(self) -> bool:
        """Whether a thread that has ended had left one behind."""
        lost = [number for number, (holder, _, _) in self._holders.items() if holder() is None]
        for number in lost:
            _, key, connection = self._holders.pop(number)
            self._schemas.pop(number, None)
            self._used[key] -= 1
            connection.close()
        return bool(lost)

    def _release(self, key: Key) -> None:
        with self._lock:
            self._used[key] -= 1
            self._changed.notify_all()

    def _expire(self, now: float) -> list[Connection[Any]]:
        gone = []
        while self._idle:
            oldest = next(iter(self._idle.values()))
            if now - oldest.since < self.limits.idle_seconds:
                break
            self._drop(oldest)
            gone.append(oldest.connection)
        return gone

    def _drop(self, idle: Idle, *, keep: bool = False) -> None:
        del self._idle[id(idle.connection)]
        stack = self._stacks[idle.key]
        if stack[-1] is idle:
            stack.pop()
        else:
            stack.remove(idle)
        if not keep:
            self._schemas.pop(id(idle.connection), None)


@Once
def process_pool() -> Pool:
    """The pool of this process: `MERIDIAN_POOL` holds what differs from the usual limits."""
    return Pool(Limits(**settings.MERIDIAN_POOL))


def _after_fork() -> None:
    """A child has a pool of its own. Its parent's is kept, so that nobody closes it."""
    if process_pool.made is not None:
        _inherited.append(process_pool.made)
    process_pool.forget()


_inherited: list[Pool] = []
os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _close_at_exit() -> None:
    if process_pool.made is not None:
        process_pool.made.forget()
