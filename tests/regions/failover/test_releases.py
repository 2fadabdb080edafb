"""Many leases that are let go at once are few messages, and one that failed stops no other."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import psycopg
import pytest

from regions.failover.acceptors import PostgresAcceptor
from regions.failover.link import Connection, Link, Unreachable
from tests.regions.failover.simulated import simulate

TRIP = 0.1


class Server:
    """Answers TRIP seconds later, once it can be reached."""

    closed = False

    def __init__(self) -> None:
        self.reached = True
        self.released: list[set[str]] = []

    async def open(self, _: str) -> Connection:
        await asyncio.sleep(TRIP)
        if not self.reached:
            raise psycopg.OperationalError("no route")
        return cast(Connection, self)

    async def execute(self, _: Any, columns: list[list[Any]]) -> None:
        await asyncio.sleep(TRIP)
        self.released.append(set(columns[0]))

    def acceptor(self) -> PostgresAcceptor:
        links = (Link("", "", timeout=1.0, open_session=self.open) for _ in range(2))
        return PostgresAcceptor(*links)


def test_what_is_let_go_while_others_are_goes_in_the_next_message() -> None:
    server = Server()
    names = [f"cell-{number}" for number in range(50)]

    async def test() -> float:
        acceptor = server.acceptor()

        async def let_go(name: str, after: float) -> None:
            await asyncio.sleep(after)
            await acceptor.release(name, "a", 1, "b", 3.0)

        many = (let_go(name, 1.5 * TRIP) for name in names)
        await asyncio.gather(let_go("first", 0.0), *many)
        return asyncio.get_running_loop().time()

    assert simulate(test()) <= 3.5 * TRIP
    assert server.released == [{"first"}, set(names)]


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
    assert server.released == [{"kept"}]
