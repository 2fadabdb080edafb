"""The region's keeper: in every worker, by turns, whatever tasks do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.db import Error, connections

from regions.deployment import Deployment
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.limits import store
from tenants.limits.assign import assign
from tenants.limits.counts import Counts
from tenants.limits.keeper import Keeper, Round
from tenants.limits.store import store_of
from tenants.seams import find_tenant, record_for
from testkit.control import forget_maps, publish_maps
from tests.tenants import jobs
from tests.tenants.conftest import HOME
from tests.tenants.workers import until, worker

ALLOWED = 300
# Cancelled; or, where the watchdog came late, the whole session.
ENDED = ("57014", "57P01", "lost")


@pytest.fixture
def counts(valkey: str) -> Iterator[Counts]:
    store.store_of.cache_clear()
    store_of(HOME).client.flushdb()
    yield Counts(store_of(HOME))
    store_of(HOME).client.flushdb()


def test_many_workers_make_each_round_once(counts: Counts):
    made = []
    one = Round("test", 600.0, made.append)
    workers = [Keeper(HOME, (one,)) for _ in range(5)]
    with ThreadPoolExecutor(5) as pool:
        turns = list(pool.map(lambda each: each.turn(one), workers))
    assert (sum(turns), made) == (1, [HOME])
    counts.again_in("turn:test", 0.001)
    time.sleep(0.01)
    assert [each.turn(one) for each in workers] == [True, False, False, False, False]


def test_a_round_that_fails_is_made_again_and_stops_no_other(counts: Counts, caplog):
    made = []

    def fail(region: str) -> None:
        raise psycopg.OperationalError("the server is away")

    bad, good = Round("bad", 0.05, fail), Round("good", 0.05, made.append)
    keeper = Keeper(HOME, (bad, good))
    for _ in range(2):
        assert not keeper.turn(bad)
        assert keeper.turn(good)
        time.sleep(0.1)
    assert made == [HOME] * 2
    assert "the server is away" in caplog.text


@pytest.fixture
def hasty(tenants, valkeys, counts: Counts, deployment: Deployment) -> Iterator[TenantRecord]:
    """A tenant whose statements may take ALLOWED milliseconds, as every process knows."""
    record = tenants["shared"][0]
    assign(record.slug, changes={"statement_ms": ALLOWED}, actor="test")
    publish_maps(deployment)
    yield record_for(find_tenant(record.slug))
    assign(record.slug, changes={"statement_ms": "plan"}, actor="test")
    forget_maps(deployment)


def test_tasks_that_take_every_worker_do_not_switch_the_watchdog_off(hasty: TenantRecord, tmp_path):
    def run_away() -> str:
        try:
            with tenant_scope(hasty), connections["default"].cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = 0; SELECT pg_sleep(400)")
        except Error as error:
            return error.__cause__.sqlstate or "lost"
        finally:
            connections.close_all()
        return "it ran to its end"

    with (
        worker(HOME, tmp_path, "--pool", "threads", "--concurrency", "1"),
        ThreadPoolExecutor(1) as pool,
    ):
        path = tmp_path / "begun"
        with tenant_scope(hasty):
            jobs.wait_for.delay(str(path), str(tmp_path / "enough"))
        until(path.exists)
        try:
            assert pool.submit(run_away).result() in ENDED
        finally:
            (tmp_path / "enough").touch()  # until now the task had the worker


def test_a_worker_measures_without_being_asked(hasty: TenantRecord, counts: Counts, tmp_path):
    with worker(HOME, tmp_path):
        until(lambda: counts.held([hasty.id]))
