"""What arrives calls the applier; not one that has much to do, and looks by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from regions.deployment import AGENT_ROLE
from regions.replication.session import open_session
from regions.replication.waking import ENOUGH, MANY, Waker
from tests.regions.replication.looking import DE, EU, US
from tests.regions.replication.mesh import Mesh

Witness = psycopg.Connection[tuple[int]]


@pytest.fixture
def waker(mesh: Mesh) -> Iterator[Waker]:
    """Of an applier in DE, started."""
    dsn = mesh.deployment.dsn(DE, mesh.spec.database, AGENT_ROLE)
    session = mesh.loop.run_until_complete(open_session(dsn))
    waker = Waker(session)
    mesh.loop.run_until_complete(waker.start())
    yield waker
    mesh.loop.run_until_complete(waker.start())
    mesh.loop.run_until_complete(session.close())


@pytest.fixture
def witness(mesh: Mesh) -> Iterator[Witness]:
    """Hears what the applier in DE would hear."""
    dsn = mesh.deployment.dsn(DE, mesh.spec.database, AGENT_ROLE)
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute("LISTEN fabric")
        yield session


def rest(mesh: Mesh, waker: Waker, *, rows: int, busy: bool = False) -> None:
    mesh.loop.run_until_complete(waker.rest(rows=rows, busy=busy))


def send(mesh: Mesh, sender: str, number: int) -> None:
    mesh.write(sender, "INSERT INTO note (id) VALUES (%s)", number)
    mesh.await_inbox(sender, DE)


def first_call(witness: Witness) -> int | None:
    """The node whose change called."""
    calls = list(witness.notifies(timeout=300, stop_after=1))
    return int(calls[0].payload) if calls else None


def test_one_that_has_much_to_do_is_not_called_until_it_listens_again(
    mesh: Mesh, waker: Waker, witness: Witness
) -> None:
    rest(mesh, waker, rows=MANY)
    send(mesh, EU, 1)
    rest(mesh, waker, rows=1)
    rest(mesh, waker, rows=0, busy=True)
    send(mesh, EU, 2)
    rest(mesh, waker, rows=0)
    send(mesh, US, 3)
    assert first_call(witness) == mesh.node(US)


def test_one_for_which_enough_has_gathered_meanwhile_goes_on_at_once(
    mesh: Mesh, waker: Waker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regions.replication.waking.GATHER_SECONDS", 3600)

    async def turns() -> None:
        async with asyncio.timeout(60):
            await waker.rest(rows=MANY, busy=False)
            await waker.rest(rows=ENOUGH, busy=False)

    mesh.loop.run_until_complete(turns())


def test_one_that_has_little_to_do_is_called(mesh: Mesh, waker: Waker, witness: Witness) -> None:
    rest(mesh, waker, rows=MANY - 1, busy=True)
    send(mesh, EU, 1)
    assert first_call(witness) == mesh.node(EU)


def test_one_that_follows_one_that_ended_in_the_middle_of_its_work_is_called(
    mesh: Mesh, waker: Waker, witness: Witness
) -> None:
    rest(mesh, waker, rows=MANY)
    mesh.loop.run_until_complete(Waker(mesh.appliers[DE]).start())
    mesh.loop.run_until_complete(mesh.appliers[DE].execute("UNLISTEN fabric"))
    send(mesh, EU, 1)
    assert first_call(witness) == mesh.node(EU)
