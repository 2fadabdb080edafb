"""Transfers between accounts, each in one transaction (W14).

`bank`: every region moves money between accounts of its own, so whoever sees a total that is not
the opening one sees half of a transaction. `exchange`: all regions move money between the same
accounts; there a replica may be told of one half by a third region that has changed the row since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

from tests.faults.history import CLIENT, Committed, Operation
from tests.faults.workloads.base import Evidence, Fate, Judgement

TABLE = "board_account"
EACH, OPENING = 4, 1_000  # accounts of a group, and what is in each
REGIONS = 3
COMMON = 0  # the group that is nobody's


class Bank:
    """Group 0 is everybody's, group n the n-th region's."""

    def __init__(self, name: str, *, common: bool) -> None:
        self.name = name
        self._common = common

    @property
    def seed(self) -> Sequence[str]:
        groups = (COMMON, COMMON) if self._common else (1, REGIONS)
        return [
            f"INSERT INTO {TABLE} (id, balance) SELECT g * 10 + n, {OPENING}"
            f"  FROM generate_series({groups[0]}, {groups[1]}) g, generate_series(1, {EACH}) n"
        ]

    def propose(self, random: Random, number: int, region: str) -> Operation:
        group = COMMON if self._common else (number // CLIENT - 1) % REGIONS + 1
        giver, taker = (group * 10 + n for n in random.sample(range(1, EACH + 1), 2))
        return Operation(number, region, self.name, "transfer", giver, taker)

    def perform(self, cursor: Any, operation: Operation) -> tuple[list[str], int]:
        changes = {operation.key: -1, operation.other: 1}
        # In the order of their keys: two transfers never wait for each other.
        for key in sorted(changes):
            cursor.execute(
                f"UPDATE {TABLE} SET balance = balance + %s WHERE id = %s", (changes[key], key)
            )
        return [], 0

    def judge(self, committed: Sequence[Committed], evidence: Evidence) -> Judgement:
        judgement = Judgement()
        wanted: Counter[int] = Counter()
        for each in committed:
            wanted[each.operation.key] -= 1
            wanted[each.operation.other] += 1
        rows = evidence.tables[TABLE]
        # What an account lacks was not given to it; what it has too much was not taken from it.
        off = {
            key: rows.get(key, {}).get("balance", 0) - OPENING - moved
            for key, moved in wanted.items()
        }
        if total := sum(off.values()):
            judgement.wrong.append(f"{self.name}: the accounts have {total:+d} in all")
        for each in committed:
            giver, taker = each.operation.key, each.operation.other
            kept = off[giver] <= 0 and off[taker] >= 0
            judgement.fates[each.operation.number] = Fate.SURVIVES if kept else Fate.SILENT
            if not kept:
                off[giver] -= off[giver] > 0
                off[taker] += off[taker] < 0
        return judgement


# Groups whose total is not what it was.
TOTALS = f"""
SELECT id / 10, sum(balance) FROM {TABLE} GROUP BY 1 HAVING sum(balance) <> {EACH * OPENING}
"""
