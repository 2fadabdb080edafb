"""A connection to a far or slow server opens in the end, and a late answer does not close it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from regions.failover.link import Connection, Link, Unreachable
from tests.regions.failover.simulated import simulate

TIMEOUT = 0.75
TRIP = 0.3
HANDSHAKES = 4  # of TCP, the startup packet, and two of SCRAM


class FarServer:
    """Answers after `trip` seconds, or when it thaws; counts the connections that it was asked."""

    def __init__(self, trip: float = TRIP) -> None:
        self.trip, self.opened = trip, 0
        self.thawed = asyncio.Event()
        self.thawed.set()

    async def open(self, dsn: str) -> Connection:
        self.opened += 1
        for _ in range(HANDSHAKES):
            await self.answer()
        return cast(Connection, self)

    async def answer(self) -> str:
        await asyncio.sleep(self.trip)
        await self.thawed.wait()
        return "answer"

    @property
    def closed(self) -> bool:
        return False

    @property
    def pgconn(self) -> FarServer:
        return self

    def finish(self) -> None:
        """Its connections have no end of their own."""


def link_to(server: FarServer) -> Link:
    return Link("far", "", timeout=TIMEOUT, open_session=server.open)


async def ask(link: Link) -> str:
    return await link.use(lambda server: cast(Any, server).answer())


async def asked_for(link: Link, seconds: float) -> list[str]:
    """What comes of asking again and again, for so long."""
    answers = []
    until = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < until:
        try:
            answers.append(await ask(link))
        except Unreachable:
            answers.append("unreachable")
            await asyncio.sleep(0.2)
    return answers


def test_a_server_that_takes_longer_to_connect_to_than_to_answer_is_reached() -> None:
    async def run() -> list[str]:
        return await asked_for(link_to(FarServer()), 10.0)

    assert simulate(run())[-1] == "answer"


def test_an_answer_that_comes_late_leaves_the_connection_in_use() -> None:
    async def run() -> tuple[list[str], int]:
        server = FarServer()
        link = link_to(server)
        await asked_for(link, 5.0)
        server.trip = 1.0
        slow = await asked_for(link, 1.0)
        server.trip = TRIP
        await asyncio.sleep(1.0)
        return [*set(slow), await ask(link)], server.opened

    assert simulate(run()) == (["unreachable", "answer"], 1)


def test_a_server_that_never_answers_gets_a_new_connection_in_the_end() -> None:
    async def run() -> tuple[list[str], int]:
        server = FarServer()
        link = link_to(server)
        await asked_for(link, 5.0)
        server.thawed.clear()
        frozen = await asked_for(link, 20.0)
        server.thawed.set()
        return [*set(frozen), (await asked_for(link, 20.0))[-1]], server.opened

    outcome, opened = simulate(run())
    assert outcome == ["unreachable", "answer"]
    assert opened >= 2


def test_nobody_waits_longer_than_told_while_a_connection_opens() -> None:
    async def run() -> float:
        link = link_to(FarServer(trip=30.0))
        before = asyncio.get_running_loop().time()
        with pytest.raises(Unreachable, match="far"):
            await ask(link)
        return asyncio.get_running_loop().time() - before

    assert simulate(run()) == pytest.approx(TIMEOUT)


@pytest.mark.parametrize("steps", range(8))
def test_a_call_that_is_cancelled_ends_as_cancelled_at_whichever_step_it_is(steps: int):
    """Who ends a loop of calls by cancelling it would otherwise wait for it forever."""

    async def cancelled() -> None:
        link = link_to(FarServer())
        call = asyncio.create_task(ask(link))
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await link.close()

    simulate(cancelled())
