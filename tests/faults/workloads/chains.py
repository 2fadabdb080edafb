"""A row made in one region is changed in another, maybe before a third has heard of it (W6)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from tests.faults.history import CLIENT, Committed, Operation
from tests.faults.workloads.base import (
    Evidence,
    Judgement,
    NothingToDo,
    all_seen,
    by_thing,
    of_kind,
)

TABLE = "board_note"
CLIENTS = 6
RECENT = 12


class Chains:
    name = "chains"
    seed: Sequence[str] = ()

    def propose(self, random: Random, number: int, region: str) -> Operation:
        if random.random() < 0.4:
            return Operation(number, region, self.name, "make", number)
        # A note that a client of any region may have made at about this time.
        client, serial = random.randint(1, CLIENTS), number % CLIENT
        made = client * CLIENT + max(1, serial - random.randint(0, RECENT))
        return Operation(number, region, self.name, "mark", made)

    def perform(self, cursor: Any, operation: Operation) -> tuple[list[str], int]:
        key, value = operation.key, operation.value
        if operation.kind == "make":
            cursor.execute(
                f"INSERT INTO {TABLE} (id, text, mark) VALUES (%s, %s, '') RETURNING _stamp",
                (key, value),
            )
            return [], cursor.fetchall()[0][0]
        cursor.execute(f"SELECT mark FROM {TABLE} WHERE id = %s FOR UPDATE", (key,))
        seen = [row[0] for row in cursor.fetchall()]
        if not seen:
            raise NothingToDo
        cursor.execute(f"UPDATE {TABLE} SET mark = %s WHERE id = %s RETURNING _stamp", (value, key))
        return seen, cursor.fetchall()[0][0]

    def judge(self, committed: Sequence[Committed], evidence: Evidence) -> Judgement:
        judgement = Judgement()
        rows = evidence.tables[TABLE]
        for about, done in by_thing(committed).items():
            row = rows.get(done[0].operation.key, {})
            seen = all_seen(done)
            for each in done:
                value = each.operation.value
                live = value == row.get("text" if each.operation.kind == "make" else "mark")
                judgement.fates[each.operation.number] = evidence.fate(
                    TABLE, value, live=live, seen=seen
                )
            newest = max(of_kind(done, "mark"), key=lambda each: each.stamp, default=None)
            if newest and newest.stamp and row.get("mark") != newest.operation.value:
                judgement.wrong.append(f"{about} lacks its last mark, {newest.operation.value}")
        return judgement
