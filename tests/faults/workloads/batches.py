"""Many rows of one transaction, there all at once or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.faults.history import Committed, Operation
from tests.faults.workloads.base import Evidence, Fate, Judgement

TABLE = "board_parcel"
MOST = 10_000


@dataclass(frozen=True)
class Batches:
    """Of `rows` rows each, in two statements of one transaction."""

    name: str
    rows: int

    @property
    def seed(self) -> Sequence[str]:
        return ()

    def propose(self, random: Random, number: int, region: str) -> Operation:
        return Operation(number, region, self.name, "pack", number, self.rows)

    def perform(self, cursor: Any, operation: Operation) -> tuple[list[str], int]:
        half = operation.other // 2
        for low, high in ((1, half), (half + 1, operation.other)):
            cursor.execute(
                f"INSERT INTO {TABLE} (id, batch) SELECT %s::bigint * {MOST} + n, %s"
                "  FROM generate_series(%s::int, %s::int) n",
                (operation.number, operation.number, low, high),
            )
        return [], 0

    def judge(self, committed: Sequence[Committed], evidence: Evidence) -> Judgement:
        judgement = Judgement()
        packed = Counter(row["batch"] for row in evidence.tables[TABLE].values())
        for each in committed:
            number, found = each.operation.number, packed[each.operation.number]
            whole = found == each.operation.other
            judgement.fates[number] = Fate.SURVIVES if whole else Fate.SILENT
            if found and not whole:
                judgement.wrong.append(f"{each.operation.about}: {found} of its rows are there")
        return judgement


# Batches within these bounds that are there by half: (batch, rows).
HALVES = f"""
SELECT batch, count(*) FROM unnest(%s::bigint[], %s::bigint[]) AS bounds(low, high)
  JOIN {TABLE} ON batch > low AND batch < high
 GROUP BY batch HAVING count(*) NOT IN (50, 2000)
"""
