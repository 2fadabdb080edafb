"""Events and requests are kept for so long; open ones, and the newest of each cell, for longer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from infra.fleet.plan import deployment_document
from regions.deployment import parse
from regions.errors import DeploymentError
from regions.failover import forgetting
from regions.failover.forgetting import NEWEST, forget_old
from tests.regions.failover.linked import linked
from tests.settings import TEST_PLAN

SECRETS = {"passwords": {}, "master_key": "00", "operator_password": "x"}
KEPT = timedelta(days=90)
CELLS = ("much", "little")
_ADD = """
INSERT INTO lease.event (region, cell, action, reason, at)
SELECT 'eu-west', %s, 'acquire', n::text, now() - %s FROM generate_series(1, %s) n
"""
_ASK = """
INSERT INTO lease.request (id, cell, target, kind, outcome, at)
VALUES (%s, 'much', 'eu-west', 'take', %s, now() - %s)
"""


@pytest.fixture(params=[1000, 7])
def batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "MOST", request.param)
    monkeypatch.setattr(forgetting, "BETWEEN_SECONDS", 0.0)


def forget(dsn: str) -> None:
    linked(dsn, lambda control: forget_old(control, KEPT))


def add(session: psycopg.Connection[Any], cell: str, age: timedelta, number: int) -> None:
    session.execute(_ADD, (cell, age, number))


def events(session: psycopg.Connection[Any], cell: str) -> list[str]:
    query = "SELECT reason FROM lease.event WHERE cell = %s ORDER BY id"
    return [reason for (reason,) in session.execute(query, [cell])]


@pytest.mark.usefixtures("batches")
def test_events_that_are_old_go_and_the_newest_of_each_cell_stay(
    dsn: str, session: psycopg.Connection[Any]
) -> None:
    add(session, "little", 10 * KEPT, NEWEST)
    add(session, "much", 2 * KEPT, 3 * NEWEST)
    forget(dsn)
    assert events(session, "little") == [str(n) for n in range(1, NEWEST + 1)]
    assert events(session, "much") == [str(n) for n in range(2 * NEWEST + 1, 3 * NEWEST + 1)]
    add(session, "much", KEPT / 2, NEWEST)
    forget(dsn)
    assert events(session, "much") == [str(n) for n in range(1, NEWEST + 1)]


@pytest.mark.usefixtures("batches")
def test_what_is_not_old_stays_however_much_it_is(
    dsn: str, session: psycopg.Connection[Any]
) -> None:
    add(session, "much", KEPT - timedelta(hours=1), 3 * NEWEST)
    forget(dsn)
    assert len(events(session, "much")) == 3 * NEWEST


@pytest.mark.usefixtures("batches")
def test_requests_that_are_old_go_unless_they_are_open(
    dsn: str, session: psycopg.Connection[Any]
) -> None:
    opened, fresh, *ended = (uuid4() for _ in range(20))
    session.execute(_ASK, (opened, None, 2 * KEPT))
    session.execute(_ASK, (fresh, "done", KEPT / 2))
    for one in ended:
        session.execute(_ASK, (one, "done", 2 * KEPT))
    forget(dsn)
    left = session.execute("SELECT id FROM lease.request WHERE cell = 'much'").fetchall()
    assert {one for (one,) in left} == {opened, fresh}


def test_one_statement_goes_through_so_many_rows_and_the_newest_are_found_by_an_index(
    session: psycopg.Connection[Any],
) -> None:
    what = {"kept": KEPT, "most": 1000, "newest": NEWEST, "after": 0}
    with session.transaction(force_rollback=True):
        for number in range(300):
            add(session, f"cell-{number}", 2 * KEPT, 2 * NEWEST)
        session.execute("ANALYZE lease.event")
        query = "EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) " + forgetting._EVENTS
        ((plan,),) = session.execute(query, what).fetchall()  # type: ignore[arg-type]
    scans = [node for node in nodes(plan[0]["Plan"]) if node.get("Relation Name") == "event"]
    assert scans
    assert max(scan["Actual Rows"] for scan in scans) <= 1000
    assert "event_by_cell" in {scan.get("Index Name") for scan in scans}


def test_for_how_long_is_a_setting() -> None:
    document = deployment_document(TEST_PLAN)
    assert parse(document, SECRETS, base=TEST_PLAN.state).journal_days == 90
    longer = {**document, "journal_days": 365}
    assert parse(longer, SECRETS, base=TEST_PLAN.state).journal_days == 365
    with pytest.raises(DeploymentError, match="journal_days"):
        parse({**document, "journal_days": 0}, SECRETS, base=TEST_PLAN.state)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)
