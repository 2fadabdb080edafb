"""Much that is to be written at once is few messages, and one that failed stops no other."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import psycopg
import pytest

from regions.failover.acceptors import PostgresAcceptor
from regions.failover.decide import Action, Decision
from regions.failover.journal import Journal, Request
from regions.failover.link import Connection, Link, Unreachable
from tests.regions.failover.simulated import simulate

TRIP = 0.1
MANY = 50


class Server:
    """Answers TRIP seconds later, once it can be reached. Its rows are what it was given first."""

    closed = False

    def __init__(self) -> None:
        self.reached = True
        self.given: list[list[Any]] = []

    async def open(self, _: str) -> Connection:
        await asyncio.sleep(TRIP)
        if not self.reached:
            raise psycopg.OperationalError("no route")
        return cast(Connection, self)

    async def execute(self, _: Any, columns: list[list[Any]]) -> Server:
        await asyncio.sleep(TRIP)
        self.given.append(list(columns[0]))
        return self

    async def fetchall(self) -> list[tuple[Any]]:
        return [(one,) for one in self.given[-1]]

    def link(self) -> Link:
        return Link("", "", timeout=1.0, open_session=self.open)

    def acceptor(self) -> PostgresAcceptor:
        return PostgresAcceptor(self.link(), self.link())


def test_what_is_let_go_while_others_are_goes_in_the_next_message() -> None:
    server = Server()
    names = [f"cell-{number}" for number in range(MANY)]

    async def test() -> float:
        acceptor = server.acceptor()

        async def let_go(name: str, after: float) -> None:
            await asyncio.sleep(after)
            await acceptor.release(name, "a", 1, "b", 3.0)

        many = (let_go(name, 1.5 * TRIP) for name in names)
        await asyncio.gather(let_go("first", 0.0), *many)
        return asyncio.get_running_loop().time()

    assert simulate(test()) <= 3.5 * TRIP
    assert [set(call) for call in server.given] == [{"first"}, set(names)]


def test_one_that_does_not_arrive_is_said_and_is_in_nobody_elses_way() -> None:
    server = Server()

    async def test() -> None:
        acceptor = server.acceptor()
        server.reached = False
        with pytest.raises(Unreachable):
            await acceptor.release("lost", "a", 1, "b", 3.0)
        server.reached = True
        await acceptor.release("kept", "a", 1, "b", 3.0)

    simulate(test())
    assert server.given == [["kept"]]


def test_many_hand_overs_at_once_are_begun_and_told_of_in_time() -> None:
    server = Server()
    journal = Journal(server.link(), "a")

    async def hand_over(number: int) -> bool:
        cell = f"cell-{number}"
        asked = Request(UUID(int=number), cell, "b", "hand_over", False, "", datetime.now(UTC))
        begun = await journal.begin(asked)
        await journal.event(cell, Decision(Action.HAND_OVER, "To b"))
        await journal.settle(asked, "done")
        return begun

    async def test() -> list[bool]:
        return await asyncio.gather(*map(hand_over, range(MANY)))

    assert simulate(test()) == [True] * MANY
    assert [len(call) for call in server.given] == [MANY] * 3


def test_who_stops_waiting_takes_nothing_from_the_others() -> None:
    server = Server()
    journal = Journal(server.link(), "a")

    def begin(number: int) -> asyncio.Task[bool]:
        wish = Request(UUID(int=number), "c", "b", "hand_over", False, "", datetime.now(UTC))
        return asyncio.create_task(journal.begin(wish))

    async def test() -> bool:
        gone, stays = begin(1), begin(2)
        await asyncio.sleep(TRIP / 2)
        gone.cancel()
        return await stays

    assert simulate(test())
