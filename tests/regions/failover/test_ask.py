"""An operator who is told that it failed can go by that: nobody does it later."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
import pytest

from regions import cells
from regions.deployment import AGENT_ROLE, CONTROL_CELL, CONTROL_DATABASE, Deployment
from regions.errors import SwitchoverFailed
from regions.failover import ask
from regions.failover.ask import Asking
from regions.failover.journal import Journal, Request
from regions.topology import CellSpec, TenancyMode, WritePolicy
from testkit.control import prepare_control
from tests.regions.failover.linked import linked
from tests.tenants.workers import until

T = TypeVar("T")

HERE, THERE = "eu-west", "eu-central"
LONG = 120.0


@pytest.fixture(scope="module")
def control(deployment: Deployment) -> Deployment:
    prepare_control(deployment)
    return deployment


@pytest.fixture
def spec() -> CellSpec:
    """A cell that nobody else has asked for."""
    name = f"asked-{uuid4().hex[:8]}"
    return CellSpec(name, TenancyMode.DEDICATED, WritePolicy.ACTIVE_PASSIVE, (HERE, THERE))


class Agent:
    """What one region's agent reads and writes, by hand."""

    def __init__(self, deployment: Deployment, cell: str) -> None:
        self._dsn = deployment.dsn(HERE, CONTROL_DATABASE, AGENT_ROLE)
        self._cell = cell

    def open(self) -> list[Request]:
        found = self._do(lambda journal: journal.requests())
        return [request for request in found if request.cell == self._cell]

    def begins(self, identity: UUID) -> bool:
        asked = Request(identity, self._cell, THERE, "hand_over", False, "", datetime.now(UTC))
        return self._do(lambda journal: journal.begin(asked))

    def settles(self, request: Request, outcome: str) -> None:
        self._do(lambda journal: journal.settle(request, outcome))

    def hears(self, number: int = 1) -> list[Request]:
        """What it is asked for, as soon as it is."""
        until(lambda: len(self.open()) >= number, LONG)
        return self.open()

    def outcomes(self) -> list[tuple[UUID, str | None]]:
        with psycopg.connect(self._dsn) as session:
            query = "SELECT id, outcome FROM lease.request WHERE cell = %s"
            return session.execute(query, (self._cell,)).fetchall()

    def _do(self, work: Callable[[Journal], Coroutine[Any, Any, T]]) -> T:
        return linked(self._dsn, lambda link: work(Journal(link, HERE)))


@pytest.fixture
def agent(control: Deployment, spec: CellSpec) -> Agent:
    return Agent(control, spec.name)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is taken back before a test is through."""
    monkeypatch.setattr(ask, "ASK_SECONDS", LONG)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def asked(deployment: Deployment, spec: CellSpec, by: str, *, forced: bool = False) -> bool:
    with closing(Asking(deployment, by=by)) as asking:
        return asking.holder(spec, HERE, THERE, forced=forced, tell=lambda _: None)


def test_what_is_not_begun_in_time_is_taken_back(
    control: Deployment, spec: CellSpec, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask, "ASK_SECONDS", 0.1)
    with pytest.raises(SwitchoverFailed, match="did not answer in time, and was asked no more"):
        asked(control, spec, "ann")
    ((identity, outcome),) = agent.outcomes()
    assert outcome == "taken back"
    assert agent.open() == []
    assert not agent.begins(identity)


def test_what_was_begun_can_not_be_taken_back(
    control: Deployment, spec: CellSpec, agent: Agent, pool: ThreadPoolExecutor
) -> None:
    with closing(Asking(control, by="ann")) as asking:
        operator = pool.submit(asking.request, spec, HERE, THERE, "hand_over", forced=False)
        (request,) = agent.hears()
        assert agent.begins(request.id)
        asking.close()
        assert agent.open() == [request]
        agent.settles(request, "done")
        assert operator.result(LONG) == "done"


def test_a_server_that_is_busy_for_a_time_fails_nothing_that_was_begun(
    control: Deployment, spec: CellSpec, agent: Agent, pool: ThreadPoolExecutor
) -> None:
    with closing(Asking(control, by="ann")) as asking:
        operator = pool.submit(asking.request, spec, HERE, THERE, "hand_over", forced=False)
        (request,) = agent.hears()
        assert agent.begins(request.id)
        with cells.administrator(control, HERE, CONTROL_CELL) as admin, admin.transaction():
            admin.execute("LOCK TABLE lease.request IN ACCESS EXCLUSIVE MODE")
            until(lambda: asking._agents[HERE]._failure, LONG)
        agent.settles(request, "done")
        assert operator.result(LONG) == "done"


def test_all_who_asked_for_the_same_are_told(
    control: Deployment, spec: CellSpec, agent: Agent, pool: ThreadPoolExecutor
) -> None:
    operators = [pool.submit(asked, control, spec, by) for by in ("ann", "bob")]
    found = agent.hears(2)
    assert {request.by for request in found} == {"ann", "bob"}
    agent.settles(found[0], "done")
    assert [operator.result(LONG) for operator in operators] == [True, True]


def test_who_insists_and_was_overtaken_is_told_and_asks_no_other_region(
    control: Deployment, spec: CellSpec, agent: Agent, pool: ThreadPoolExecutor
) -> None:
    operator = pool.submit(asked, control, spec, "ann", forced=True)
    agent.settles(agent.hears()[0], "Somebody else was faster: bob has asked for us-east.")
    with pytest.raises(SwitchoverFailed, match="bob has asked for us-east"):
        operator.result(LONG)


def test_what_an_operation_leaves_when_it_ends_is_taken_back(
    control: Deployment, spec: CellSpec, agent: Agent
) -> None:
    with closing(Asking(control, by="ann")) as asking:
        asking.request(spec, HERE, HERE, "take", forced=True)
        assert len(agent.open()) == 1
    assert [outcome for _, outcome in agent.outcomes()] == ["taken back"]


def test_what_was_heard_though_nobody_said_so_is_taken_back(
    control: Deployment, spec: CellSpec, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = ask._Agent._execute

    def cut_off(self: ask._Agent, query: Any, params: tuple[object, ...]) -> Any:
        found = execute(self, query, params)
        if query == ask._LEAVE:
            self._failure = psycopg.OperationalError("the connection is lost")
            self._failed_at = time.monotonic()
            raise self._failure
        return found

    monkeypatch.setattr(ask._Agent, "_execute", cut_off)
    with pytest.raises(SwitchoverFailed, match="or not at all"):
        asked(control, spec, "ann")
    assert [outcome for _, outcome in agent.outcomes()] == ["taken back"]


def test_who_took_over_by_himself_is_not_said_to_have_been_handed_over_to(
    control: Deployment, spec: CellSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent that had begun it was killed, and its lease has ended."""
    monkeypatch.setattr(ask, "writer_of", lambda *_: THERE)
    told: list[str] = []
    with closing(Asking(control, by="ann")) as asking:
        assert asking.holder(spec, HERE, THERE, forced=False, tell=told.append)
    assert told == [f"{THERE} writes it now; {HERE} has not said how"]


@pytest.mark.parametrize("begun", [False, True])
def test_what_a_killed_operator_had_left_is_done_soon_also_by_an_agent_that_was_killed_or_never(
    control: Deployment, spec: CellSpec, agent: Agent, pool: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch, begun: bool,
) -> None:  # fmt: skip
    dsn = control.dsn(HERE, CONTROL_DATABASE, AGENT_ROLE)
    coming = f"{spec.name} is to be written by {THERE}"

    def left_by_one_who_is_killed() -> UUID:
        operator, identity = ask._Agent(dsn), uuid4()
        operator.leave(identity, spec.name, THERE, "hand_over", False, "dead")
        assert operator._connection
        operator._connection.pgconn.finish()
        assert not begun or agent.begins(identity)
        assert coming in ask.asked_now(control)
        return identity

    left_by_one_who_is_killed()
    again = pool.submit(asked, control, spec, "ann")
    first, _ = agent.hears(2)
    assert agent.begins(first.id), "the next agent begins it, whatever became of the last one"
    agent.settles(first, "done")
    assert again.result(LONG)
    lapsed = left_by_one_who_is_killed()
    with psycopg.connect(dsn) as session:
        session.execute(
            "UPDATE lease.request SET at = at - interval '31 s' WHERE id = %s", [lapsed]
        )
    assert agent.open() == []
    assert coming not in ask.asked_now(control)


def test_what_an_agent_that_died_has_left_open_is_closed_by_the_next_one(
    control: Deployment, spec: CellSpec
) -> None:
    agent, identity = Agent(control, spec.name), uuid4()
    with psycopg.connect(control.dsn(HERE, CONTROL_DATABASE, AGENT_ROLE)) as session:
        session.execute(
            "INSERT INTO lease.request (id, cell, target, kind, at, begun)"
            " VALUES (%s, %s, %s, 'hand_over', now() - interval '31 s', now() - interval '30 s')",
            (identity, spec.name, THERE),
        )
    assert agent.open() == []
    ((closed, outcome),) = agent.outcomes()
    assert closed == identity
    assert (outcome or "").startswith("lapsed")
