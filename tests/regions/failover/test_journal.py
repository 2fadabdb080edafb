"""What an agent writes down of many cells at once, as the control database has it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg

from regions.failover.decide import Action, Decision
from regions.failover.journal import Journal, Request
from regions.failover.link import Link
from tests.regions.failover.linked import linked

HERE, THERE = "eu-west", "eu-central"
CELLS = ("noted-a", "noted-b")


def asked(session: psycopg.Connection[Any], cell: str, target: str = THERE) -> Request:
    identity = uuid4()
    session.execute(
        "INSERT INTO lease.request (id, cell, target, kind) VALUES (%s, %s, %s, 'hand_over')",
        (identity, cell, target),
    )
    return Request(identity, cell, target, "hand_over", False, "", datetime.now(UTC))


def outcomes(session: psycopg.Connection[Any]) -> dict[UUID, str | None]:
    query = "SELECT id, outcome FROM lease.request WHERE cell = ANY (%s)"
    return dict(session.execute(query, [list(CELLS)]).fetchall())


def at_once(dsn: str, *calls: Callable[[Journal], Coroutine[Any, Any, Any]]) -> list[Any]:
    async def work(link: Link) -> list[Any]:
        journal = Journal(link, HERE)
        return await asyncio.gather(*(call(journal) for call in calls))

    return linked(dsn, work)


def test_of_many_that_are_begun_each_is_told_whether_it_was(
    dsn: str, session: psycopg.Connection[Any]
) -> None:
    first, second, third = (asked(session, cell) for cell in (*CELLS, CELLS[0]))
    session.execute("UPDATE lease.request SET outcome = 'taken back' WHERE id = %s", [second.id])
    begun = at_once(
        dsn,
        lambda journal: journal.begin(first),
        lambda journal: journal.begin(second),
        lambda journal: journal.begin(third),
    )
    assert begun == [True, False, True]


def test_of_many_that_end_everybody_who_asked_for_the_same_is_told_the_first_outcome(
    dsn: str, session: psycopg.Connection[Any]
) -> None:
    first, same = asked(session, CELLS[0]), asked(session, CELLS[0])
    other, elsewhere = asked(session, CELLS[1]), asked(session, CELLS[1], "us-east")
    at_once(
        dsn,
        lambda journal: journal.settle(first, "done"),
        lambda journal: journal.settle(same, "late"),
        lambda journal: journal.settle(other, "refused"),
    )
    assert outcomes(session) == {
        first.id: "done",
        same.id: "done",
        other.id: "refused",
        elsewhere.id: None,
    }


def test_of_many_that_are_decided_the_order_stays(
    dsn: str, session: psycopg.Connection[Any]
) -> None:
    decided = [(cell, action) for action in (Action.ACQUIRE, Action.HAND_OVER) for cell in CELLS]

    def says(cell: str, action: Action) -> Callable[[Journal], Coroutine[Any, Any, None]]:
        return lambda journal: journal.event(cell, Decision(action, "why"), epoch=7)

    at_once(dsn, *(says(cell, action) for cell, action in decided))
    query = (
        "SELECT cell, action, region, reason, epoch FROM lease.event WHERE cell = ANY (%s)"
        " ORDER BY id"
    )
    found = session.execute(query, [list(CELLS)]).fetchall()
    assert found == [(cell, str(action), HERE, "why", 7) for cell, action in decided]
