"""What clients did and what they were told: pure values.

An operation's value is its own number, so that every value in a table names who wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

CLIENT = 1_000_000  # the numbers of one client's operations: client * CLIENT + 1 …


@dataclass(frozen=True, slots=True)
class Operation:
    """One transaction that a client in `region` sends. `kind` is a verb of its workload; it acts on
    `key`, or on `other`, too, or on the `field` of it."""

    number: int
    region: str
    workload: str
    kind: str
    key: int
    other: int = 0
    field: str = ""

    @property
    def value(self) -> str:
        return str(self.number)

    @property
    def about(self) -> str:
        """What it is done to, as entries name it."""
        return " ".join(map(str, filter(None, (self.workload, self.key, self.field))))


class Outcome(StrEnum):
    """What the client was told. `maybe`: the connection was lost while it committed."""

    OK = "ok"
    FAIL = "fail"
    MAYBE = "maybe"


@dataclass(frozen=True, slots=True)
class Event:
    """An operation as its client saw it; times in seconds from the beginning of the run."""

    operation: Operation
    outcome: Outcome
    invoked: float
    completed: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Committed:
    """An operation whose entry is in the replicas: `seen` are the values that it knowingly
    replaced, `stamp` what its write got (0 where nothing gives any)."""

    operation: Operation
    seen: tuple[str, ...] = ()
    stamp: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """What an operation left in a replica beside its writes."""

    seen: tuple[str, ...] = ()
    stamp: int = 0


@dataclass(frozen=True, slots=True)
class Discarded:
    """A row of the ledger or a dead letter, from any region: `values` are the texts in it."""

    table: str
    values: frozenset[str]


Row = dict[str, Any]
Tables = dict[str, dict[int, Row]]


@dataclass(frozen=True, slots=True)
class Replica:
    """What one region holds at the end: rows by table and key, entries by operation, and each
    row's bytes, whatever columns it has, by table and key."""

    region: str
    tables: Tables
    entries: dict[int, Entry]
    texts: dict[str, dict[int, str]] = field(default_factory=dict)
