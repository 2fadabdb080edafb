"""Tags put on cards and taken off again in every region: an add-wins set (W4).

A removal takes what its region had heard of; an addition that no removal had heard of stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from tests.faults.history import Committed, Operation
from tests.faults.workloads.base import Evidence, Judgement, all_seen, by_thing, of_kind

TABLE = "board_card_tags"
CARDS, TAGS = 2, 3


class Tags:
    name = "tags"
    seed: Sequence[str] = (
        f"INSERT INTO board_tag (id, name) SELECT n, n FROM generate_series(1, {TAGS}) n",
    )

    def propose(self, random: Random, number: int, region: str) -> Operation:
        kind = random.choice(("add", "add", "remove"))
        card, tag = random.randint(1, CARDS), random.randint(1, TAGS)
        return Operation(number, region, self.name, kind, card, tag, field=f"with {tag}")

    def perform(self, cursor: Any, operation: Operation) -> tuple[list[str], int]:
        element = (operation.key, operation.other)
        cursor.execute(
            f"SELECT FROM {TABLE} WHERE card_id = %s AND tag_id = %s FOR UPDATE", element
        )
        there = bool(cursor.fetchall())
        if there == (operation.kind == "add"):
            return ["nothing to do"], 0
        if operation.kind == "add":
            cursor.execute(
                f"INSERT INTO {TABLE} (card_id, tag_id) VALUES (%s, %s) RETURNING _stamp", element
            )
            ((stamp,),) = cursor.fetchall()
            return [], stamp
        # Its lock keeps others' additions out; those that are in it came with their entries.
        cursor.execute(
            "SELECT id::text FROM board_entry WHERE about = %s AND stamp > 0", (operation.about,)
        )
        seen = [value for (value,) in cursor.fetchall()]
        cursor.execute(f"DELETE FROM {TABLE} WHERE card_id = %s AND tag_id = %s", element)
        return seen, 0

    def judge(self, committed: Sequence[Committed], evidence: Evidence) -> Judgement:
        judgement = Judgement()
        present = {(row["card_id"], row["tag_id"]) for row in evidence.tables[TABLE].values()}
        for about, done in by_thing(committed).items():
            operation = done[0].operation
            live = (operation.key, operation.other) in present
            adds = [each for each in of_kind(done, "add") if each.stamp]
            removed = all_seen(of_kind(done, "remove"))
            for each in adds:
                # An element's row does not say who put it there: its stamp does.
                stamp = str(each.stamp)
                known = {stamp} if each.operation.value in removed else set()
                judgement.fates[each.operation.number] = evidence.fate(
                    TABLE, stamp, live=live, seen=known
                )
            if live and all(each.operation.value in removed for each in adds):
                judgement.wrong.append(f"{about}: removed, and there again")
        return judgement
