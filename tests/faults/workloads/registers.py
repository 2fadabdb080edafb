"""Fields of a few hot rows that every region writes: the last writer's value wins (W1, W7, W8).

Every other value is either what a later writer had seen, or in the ledger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.faults.history import Committed, Operation
from tests.faults.workloads.base import Evidence, Judgement, all_seen, by_thing

TABLE = "board_card"


@dataclass(frozen=True)
class Registers:
    """`fields` of `cards`. A `body` is too big for its row."""

    name: str
    cards: range
    fields: tuple[str, ...]

    @property
    def seed(self) -> Sequence[str]:
        return ()  # the cards that every workload has

    def propose(self, random: Random, number: int, region: str) -> Operation:
        key, field = random.choice(self.cards), random.choice(self.fields)
        return Operation(number, region, self.name, "write", key, field=field)

    def perform(self, cursor: Any, operation: Operation) -> tuple[list[str], int]:
        field = operation.field
        cursor.execute(
            f"SELECT split_part({field}, ':', 1) FROM {TABLE} WHERE id = %s FOR UPDATE",
            (operation.key,),
        )
        ((seen,),) = cursor.fetchall()
        cursor.execute(
            f"UPDATE {TABLE} SET {field} = %s WHERE id = %s RETURNING _stamp",
            (content(operation), operation.key),
        )
        ((stamp,),) = cursor.fetchall()
        return [seen], stamp

    def judge(self, committed: Sequence[Committed], evidence: Evidence) -> Judgement:
        judgement = Judgement()
        for about, writes in by_thing(committed).items():
            first = writes[0].operation
            row = evidence.tables[TABLE].get(first.key, {})
            found = row.get(first.field, "")
            live, seen = found.partition(":")[0], all_seen(writes)
            for each in writes:
                value = each.operation.value
                judgement.fates[each.operation.number] = evidence.fate(
                    TABLE, value, live=value == live, seen=seen
                )
            judgement.wrong.extend(_wrong(about, found, live, writes))
        return judgement


def _wrong(about: str, found: str, live: str, writes: Sequence[Committed]) -> list[str]:
    winner = next((each for each in writes if each.operation.value == live), None)
    if winner is None:
        return [f"{about} has a value that nobody wrote: {live!r}"]
    if found != content(winner.operation):
        return [f"{about} has only a part of what {live} wrote"]
    newest = max(writes, key=lambda each: each.stamp)
    if newest.stamp > winner.stamp:
        return [f"{about} has {live}, not the later {newest.operation.value}"]
    return []


def content(operation: Operation) -> str:
    """What it writes: its number, and in a big field much that follows from it."""
    if operation.field != "body":
        return operation.value
    parts = (hashlib.sha256(f"{operation.value}/{n}".encode()).hexdigest() for n in range(100))
    return f"{operation.value}:{''.join(parts)}"
