"""Topics are deleted with their replies in one region while another adds replies (W10)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from tests.faults.history import Committed, Operation
from tests.faults.workloads.base import Evidence, Judgement, NothingToDo, all_seen, of_kind

TOPICS, REPLIES = "board_topic", "board_reply"
KEYS = 4


class Families:
    name = "families"
    seed: Sequence[str] = ()

    def propose(self, random: Random, number: int, region: str) -> Operation:
        kind = random.choice(("open", "reply", "reply", "reply", "close"))
        return Operation(number, region, self.name, kind, random.randint(1, KEYS))

    def perform(self, cursor: Any, operation: Operation) -> tuple[list[str], int]:
        key, value = operation.key, operation.value
        cursor.execute(f"SELECT name FROM {TOPICS} WHERE id = %s FOR UPDATE", (key,))
        topic = [row[0] for row in cursor.fetchall()]
        if bool(topic) == (operation.kind == "open"):
            raise NothingToDo
        if operation.kind == "open":
            cursor.execute(f"INSERT INTO {TOPICS} (id, name) VALUES (%s, %s)", (key, value))
            return [], 0
        if operation.kind == "reply":
            cursor.execute(
                f"INSERT INTO {REPLIES} (id, topic_id) VALUES (%s, %s)", (operation.number, key)
            )
            return [], 0
        cursor.execute(f"DELETE FROM {REPLIES} WHERE topic_id = %s RETURNING id::text", (key,))
        seen = [row[0] for row in cursor.fetchall()]
        cursor.execute(f"DELETE FROM {TOPICS} WHERE id = %s", (key,))
        return [*topic, *seen], 0

    def judge(self, committed: Sequence[Committed], evidence: Evidence) -> Judgement:
        topics, replies = evidence.tables[TOPICS], evidence.tables[REPLIES]
        judgement = Judgement(
            wrong=[
                f"reply {number} is there without its topic {reply['topic_id']}"
                for number, reply in replies.items()
                if reply["topic_id"] not in topics
            ]
        )
        seen = all_seen(of_kind(committed, "close"))
        names = {row["name"] for row in topics.values()}
        for each in of_kind(committed, "open", "reply"):
            number, value = each.operation.number, each.operation.value
            opened = each.operation.kind == "open"
            live = value in names if opened else number in replies
            judgement.fates[number] = evidence.fate(
                TOPICS if opened else REPLIES, value, live=live, seen=seen
            )
            if live and value in seen:
                judgement.wrong.append(f"{each.operation.about}: {value} was deleted, and is there")
        return judgement
