"""A stock that every region sells from and that none may oversell, cut off or not (escrow)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from tests.faults.history import Committed, Operation
from tests.faults.workloads.base import Evidence, Fate, Judgement, by_thing

TABLE = "board_shelf"
SHELVES, OPENING, DELIVERED = 3, 25, 3
CHANGES = {"sell": -1, "deliver": DELIVERED, "ask": 0}
_STATEMENTS = {
    "sell": f"UPDATE {TABLE} SET stock = stock - 1 WHERE id = %s",
    "deliver": f"UPDATE {TABLE} SET stock = stock + {DELIVERED} WHERE id = %s",
    "ask": f"""UPDATE {TABLE} SET _base = '{{"ask": {{"stock": 2}}}}' WHERE id = %s""",
}


class Shelves:
    """A sale that the region holds no rights for fails."""

    name = "shelves"
    seed = (
        f"INSERT INTO {TABLE} (id, stock) SELECT n, {OPENING} FROM generate_series(1, {SHELVES}) n",
    )

    def propose(self, random: Random, number: int, region: str) -> Operation:
        kind = random.choices(list(CHANGES), weights=(8, 1, 2))[0]
        return Operation(number, region, self.name, kind, random.randint(1, SHELVES))

    def perform(self, cursor: Any, operation: Operation) -> tuple[list[str], int]:
        cursor.execute(_STATEMENTS[operation.kind], (operation.key,))
        return [], 0

    def judge(self, committed: Sequence[Committed], evidence: Evidence) -> Judgement:
        judgement = Judgement()
        for about, done in by_thing(committed).items():
            found = evidence.tables[TABLE].get(done[0].operation.key, {}).get("stock", 0)
            right = OPENING + sum(CHANGES[each.operation.kind] for each in done)
            if right < 0:
                judgement.wrong.append(f"{about}: {-right} more were sold than there were")
            elif found != right:
                judgement.wrong.append(f"{about} has {found}, and {right} are left of it")
            fate = Fate.SURVIVES if found == right else Fate.SILENT
            judgement.fates.update({each.operation.number: fate for each in done})
        return judgement
