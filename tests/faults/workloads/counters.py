"""Increments of a few hot counters in every region: the sum of all, once each (W3)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from tests.faults.history import Committed, Operation
from tests.faults.workloads.base import Evidence, Fate, Judgement, by_thing

TABLE = "board_card"
CARDS = 4


class Counters:
    name = "counters"
    seed: Sequence[str] = ()

    def propose(self, random: Random, number: int, region: str) -> Operation:
        return Operation(number, region, self.name, "add", random.randint(1, CARDS))

    def perform(self, cursor: Any, operation: Operation) -> tuple[list[str], int]:
        cursor.execute(f"UPDATE {TABLE} SET votes = votes + 1 WHERE id = %s", (operation.key,))
        return [], 0

    def judge(self, committed: Sequence[Committed], evidence: Evidence) -> Judgement:
        judgement = Judgement()
        for about, adds in by_thing(committed).items():
            key = adds[0].operation.key
            found = evidence.tables[TABLE].get(key, {}).get("votes", 0)
            # Which ones are missing, a sum does not tell: as many as it lacks.
            for place, each in enumerate(adds):
                fate = Fate.SURVIVES if place < found else Fate.SILENT
                judgement.fates[each.operation.number] = fate
            if found > len(adds):
                judgement.wrong.append(f"{about} is {found} after {len(adds)} increments")
        return judgement
