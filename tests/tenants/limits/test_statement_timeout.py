"""How long a tenant's statement runs: in every mode, and against SQL that wants to run longer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest
from django.db import Error, OperationalError, connections, transaction
from hypothesis import given
from hypothesis import strategies as st

from regions import cells
from regions.deployment import Deployment
from regions.topology import database_name
from tenants.backend.context import context_statement, tenant_of
from tenants.context import tenant_scope
from tenants.databases import cell_alias
from tenants.directory import TenantRecord
from tenants.limits.values import resolve
from tenants.limits.watchdog import GRACE_MS, Action, judge, watch
from tests.tenants.conftest import HOME
from tests.tenants.test_backend import messages_sent

# Milliseconds: what is to go well takes less on any machine, what is to be ended more.
ALLOWED, LONG = 1_500, "SELECT pg_sleep(300)"
TIMED_OUT = "57014"
# Cancelled; or, where the watchdog came late, the whole session.
ENDED = (TIMED_OUT, "57P01", "lost")


@pytest.fixture
def hasty(pair) -> Iterator[TenantRecord]:
    """A tenant whose statements may take ALLOWED milliseconds."""
    yield limited(pair[0])
    connections[cell_alias(pair[0].cell)].close()


def limited(tenant: TenantRecord, milliseconds: int = ALLOWED) -> TenantRecord:
    return replace(tenant, limits=resolve({"statement_ms": milliseconds}, {}))


def run(tenant: TenantRecord, statement: str) -> list[tuple]:
    with tenant_scope(tenant), connections[cell_alias(tenant.cell)].cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def test_a_statement_that_takes_too_long_is_ended(hasty: TenantRecord):
    began = time.monotonic()
    with pytest.raises(OperationalError) as ended:
        run(hasty, LONG)
    assert ended.value.__cause__.sqlstate == TIMED_OUT
    assert time.monotonic() - began >= ALLOWED / 1000
    assert run(hasty, "SELECT 1") == [(1,)]


def test_the_limit_travels_in_the_statements_message(hasty: TenantRecord):
    run(hasty, "SELECT 1")
    with messages_sent(cell_alias(hasty.cell)) as sent:
        assert run(hasty, "SELECT 1") == [(1,)]
    assert len(sent) == 1


def test_each_statement_has_the_whole_time(shared_pair):
    patient = limited(shared_pair[0], 4_000)
    with tenant_scope(patient), transaction.atomic():
        for _ in range(2):
            run(patient, "SELECT pg_sleep(2.2)")
    connections[cell_alias(patient.cell)].close()


def test_executemany_and_results_are_as_without_a_limit(hasty: TenantRecord):
    with tenant_scope(hasty), connections[cell_alias(hasty.cell)].cursor() as cursor:
        cursor.execute("DELETE FROM desk_ticket_tags")
        cursor.execute("DELETE FROM desk_tag")
        cursor.executemany("INSERT INTO desk_tag (name) VALUES (%s)", [["a"], ["b"]])
        assert cursor.rowcount == 2
        cursor.execute("SELECT name FROM desk_tag ORDER BY name")
        assert cursor.fetchall() == [("a",), ("b",)]
        assert cursor.nextset() is None


def test_a_savepoint_that_is_rolled_back_keeps_the_limit(hasty: TenantRecord):
    with tenant_scope(hasty), transaction.atomic():
        with pytest.raises(Error), transaction.atomic():
            run(hasty, "SELECT * FROM no_such_table")
        with pytest.raises(OperationalError), transaction.atomic():
            run(hasty, LONG)


def test_the_next_tenant_of_the_connection_has_its_own_limit(hasty: TenantRecord, pair):
    run(hasty, "SELECT 1")
    unlimited = pair[1] if pair[1].cell == hasty.cell else pair[0]
    run(unlimited, f"SELECT pg_sleep({ALLOWED / 1000 * 1.2})")


def test_one_message_cannot_change_the_limit_of_the_next(hasty: TenantRecord):
    with tenant_scope(hasty), connections[cell_alias(hasty.cell)].cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
    with pytest.raises(OperationalError):
        run(hasty, LONG)


@pytest.fixture
def one_mode(tenants, deployment: Deployment) -> Iterator[TenantRecord]:
    """The watchdog sees sessions, not modes."""
    yield limited(tenants["shared"][0])
    connections[cell_alias(tenants["shared"][0].cell)].close()


def watched(tenant: TenantRecord, deployment: Deployment, statement: str) -> str:
    """Runs it in a session of its own under the watchdog's eyes: how it ended."""

    def work() -> str:
        try:
            run(tenant, statement)
        except Error as error:
            return error.__cause__.sqlstate or "lost"
        finally:
            connections.close_all()
        return "done"

    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(work)
        while not under_way.done() and time.monotonic() - began < 250:
            time.sleep(0.2)
            allowed = {tenant.id: 200} if tenant.limits.statement_ms else {uuid4(): 10}
            watch(deployment, HOME, allowed)
        return under_way.result()


RAISED = "SET LOCAL statement_timeout = 0"
# Nobody may send a block of procedural code; a function of an app's migrations could do this.
CATCHES = """
CREATE OR REPLACE FUNCTION public.catches() RETURNS void LANGUAGE plpgsql AS $$ BEGIN LOOP
    BEGIN LOOP
        BEGIN PERFORM pg_sleep(300); EXCEPTION WHEN query_canceled THEN NULL; END;
    END LOOP; EXCEPTION WHEN query_canceled THEN NULL; END;
END LOOP; END $$
"""


def test_a_limit_that_was_raised_within_the_message_is_enforced_from_outside(one_mode, deployment):
    assert watched(one_mode, deployment, f"{RAISED}; {LONG}") in ENDED


def test_a_statement_that_catches_its_cancellation_loses_its_connection(one_mode, deployment):
    with cells.administrator(deployment, HOME, database_name(one_mode.cell)) as admin:
        admin.execute(CATCHES)
    how = watched(one_mode, deployment, f"{RAISED}; SELECT public.catches()")
    assert how in ENDED[1:]
    assert run(one_mode, "SELECT 1") == [(1,)]


def test_other_tenants_and_operators_are_left_alone(one_mode, deployment):
    unlimited = replace(one_mode, limits=resolve({}, {}))
    assert watched(unlimited, deployment, "SELECT pg_sleep(2)") == "done"


def test_a_tenant_cannot_pass_for_another(deployment):
    mine, other = uuid4(), uuid4()
    key = deployment.context_key("eu")
    sent = context_statement(key, mine, "public", 9_999_999_999).decode()
    fake = context_statement(key, other, "public", 9_999_999_999).decode()
    assert tenant_of(sent + fake) == mine
    assert tenant_of(fake + sent) == other
    assert tenant_of("SELECT 1") is None


@given(elapsed=st.floats(min_value=0, max_value=1e9), allowed=st.integers(10, 10**6) | st.none())
def test_the_longer_a_statement_runs_the_harder_it_is_ended(elapsed, allowed):
    order = [Action.LEAVE, Action.CANCEL, Action.TERMINATE]
    now, later = judge(elapsed, allowed), judge(elapsed + 5_000, allowed)
    assert order.index(now) <= order.index(later)
    assert (now is Action.LEAVE) == (allowed is None or elapsed <= allowed + GRACE_MS)
