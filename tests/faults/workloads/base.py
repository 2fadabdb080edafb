"""What a workload is, and what may have become of an operation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, Protocol

from tests.faults.history import Committed, Discarded, Operation, Tables


class Fate(StrEnum):
    """Of a committed operation's write, from best to worst."""

    SURVIVES = "survives"
    REPLACED = "replaced"  # by somebody who had seen it
    RECORDED = "recorded"  # discarded, and there is a record of it
    SILENT = "silent"  # discarded without a record


@dataclass(frozen=True, slots=True)
class Judgement:
    """`fates` by operation; `wrong` are sentences about what must not be."""

    fates: dict[int, Fate] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


class Workload(Protocol):
    """`seed` are statements that make what the operations work on."""

    @property
    def name(self) -> str: ...

    @property
    def seed(self) -> Sequence[str]: ...

    def propose(self, random: Random, number: int, region: str) -> Operation: ...

    def perform(self, cursor: Any, operation: Operation) -> tuple[list[str], int]:
        """Do it; what it knowingly replaced, and the stamp of its write. Raises NothingToDo."""

    def judge(self, committed: Sequence[Committed], evidence: Evidence) -> Judgement:
        """Of all that committed: what has become of it, by one replica and all records."""


class NothingToDo(Exception):
    """The operation finds nothing to act on: it fails, and changes nothing."""


class Evidence:
    """One replica's rows, and what every region has a record of."""

    def __init__(self, tables: Tables, discarded: Iterable[Discarded]) -> None:
        self.tables = tables
        self._recorded: dict[str, set[str]] = {}
        for record in discarded:
            self._recorded.setdefault(record.table, set()).update(record.values)

    def fate(self, table: str, value: str, *, live: bool, seen: set[str]) -> Fate:
        """Of a value that was written to a table."""
        if live:
            return Fate.SURVIVES
        if value in seen:
            return Fate.REPLACED
        recorded = value in self._recorded.get(table, ())
        return Fate.RECORDED if recorded else Fate.SILENT


def by_thing(committed: Iterable[Committed]) -> dict[str, list[Committed]]:
    """What was done to each thing."""
    found: dict[str, list[Committed]] = {}
    for each in committed:
        found.setdefault(each.operation.about, []).append(each)
    return found


def all_seen(committed: Iterable[Committed]) -> set[str]:
    return {value for each in committed for value in each.seen}


def of_kind(committed: Iterable[Committed], *kinds: str) -> Iterator[Committed]:
    return (each for each in committed if each.operation.kind in kinds)
