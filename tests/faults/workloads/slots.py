"""Rows put, taken and put again under the same few keys in every region (W5).

A taken value does not come back, and what was put again is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from tests.faults.history import Committed, Operation
from tests.faults.workloads.base import (
    Evidence,
    Judgement,
    NothingToDo,
    all_seen,
    by_thing,
    of_kind,
)

TABLE = "board_slot"
SLOTS = 6


class Slots:
    name = "slots"
    seed: Sequence[str] = ()

    def propose(self, random: Random, number: int, region: str) -> Operation:
        kind = random.choice(("put", "put", "take"))
        return Operation(number, region, self.name, kind, random.randint(1, SLOTS))

    def perform(self, cursor: Any, operation: Operation) -> tuple[list[str], int]:
        key, value = operation.key, operation.value
        cursor.execute(f"SELECT value FROM {TABLE} WHERE id = %s FOR UPDATE", (key,))
        seen = [row[0] for row in cursor.fetchall()]
        if operation.kind == "take":
            if not seen:
                raise NothingToDo
            cursor.execute(f"DELETE FROM {TABLE} WHERE id = %s", (key,))
            return seen, 0
        if seen:
            put = f"UPDATE {TABLE} SET value = %s WHERE id = %s RETURNING _stamp"
        else:
            put = f"INSERT INTO {TABLE} (value, id) VALUES (%s, %s) RETURNING _stamp"
        cursor.execute(put, (value, key))
        ((stamp,),) = cursor.fetchall()
        return seen, stamp

    def judge(self, committed: Sequence[Committed], evidence: Evidence) -> Judgement:
        judgement = Judgement()
        for about, done in by_thing(committed).items():
            row = evidence.tables[TABLE].get(done[0].operation.key)
            live = row["value"] if row else None
            seen = all_seen(done)
            for each in of_kind(done, "put"):
                value = each.operation.value
                judgement.fates[each.operation.number] = evidence.fate(
                    TABLE, value, live=value == live, seen=seen
                )
            if live in all_seen(of_kind(done, "take")):
                judgement.wrong.append(f"{about}: {live} was taken, and is there again")
            elif live in seen:
                judgement.wrong.append(f"{about}: {live} was replaced, and is there again")
        return judgement
