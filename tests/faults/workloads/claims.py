"""One unique name claimed in every region: one has it, the first, and the others are kept (W9)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from tests.faults.history import CLIENT, Committed, Operation
from tests.faults.workloads.base import Evidence, Judgement, by_thing

TABLE = "board_claim"


class Claims:
    name = "claims"
    seed: Sequence[str] = ()

    def propose(self, random: Random, number: int, region: str) -> Operation:
        # Clients go through the names at about the same time.
        name = (number % CLIENT) // 4 * 4 + random.randint(0, 3)
        return Operation(number, region, self.name, "claim", name)

    def perform(self, cursor: Any, operation: Operation) -> tuple[list[str], int]:
        cursor.execute(
            f"INSERT INTO {TABLE} (id, name) VALUES (%s, %s) RETURNING _stamp",
            (operation.number, f"name {operation.key}"),
        )
        return [], cursor.fetchall()[0][0]

    def judge(self, committed: Sequence[Committed], evidence: Evidence) -> Judgement:
        judgement = Judgement()
        rows = evidence.tables[TABLE]
        for about, claims in by_thing(committed).items():
            for each in claims:
                number = each.operation.number
                judgement.fates[number] = evidence.fate(
                    TABLE, each.operation.value, live=number in rows, seen=set()
                )
            first = min(claims, key=lambda each: each.stamp)
            if first.stamp and first.operation.number not in rows:
                judgement.wrong.append(f"{about} is not {first.operation.value}'s, who was first")
        return judgement
