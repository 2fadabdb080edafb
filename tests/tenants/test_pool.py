"""The connections of a process: bounded, recycled, shared by threads, and never by two at once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from django.db import close_old_connections, connections
from django.test import RequestFactory
from psycopg.pq import TransactionStatus

from desk.models import Tag
from gateway.transactions import explain
from regions.deployment import ADMIN_ROLE, Deployment
from tenants.backend import pool as pools
from tenants.backend.pool import Limits, Pool, Saturated, process_pool
from tenants.context import tenant_scope
from tenants.databases import cell_alias
from tenants.directory import TenantRecord
from tests.tenants.conftest import HOME

Open = Callable[[], psycopg.Connection]


class Holder:
    """Stands for a thread's database wrapper."""


@pytest.fixture
def open_one(deployment: Deployment) -> Iterator[Open]:
    opened: list[psycopg.Connection] = []

    def connect() -> psycopg.Connection:
        dsn = deployment.dsn(HOME, "postgres", ADMIN_ROLE)
        opened.append(psycopg.connect(dsn, autocommit=True))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def quick(**limits: float) -> Pool:
    return Pool(replace(Limits(), wait_seconds=0.05, **limits))


def test_a_connection_is_used_again(open_one: Open) -> None:
    pool, holder = quick(), Holder()
    first, used = pool.take(("a",), holder, open_one)
    assert not used
    pool.give_back(("a",), first)
    second, used = pool.take(("a",), holder, open_one)
    assert used
    assert second is first
    assert pool.counts() == (1, 0)


def test_an_idle_connection_makes_room_for_another_cells(open_one: Open) -> None:
    pool, holder = quick(total=2), Holder()
    taken = {key: pool.take((key,), holder, open_one)[0] for key in "ab"}
    pool.give_back(("b",), taken["b"])
    pool.give_back(("a",), taken["a"])
    pool.take(("c",), holder, open_one)
    assert taken["b"].closed
    assert not taken["a"].closed
    assert pool.counts() == (1, 1)


@pytest.mark.parametrize("limits", [{"total": 1}, {"per_database": 1}])
def test_nobody_waits_longer_than_the_limit(open_one: Open, limits: dict[str, int]) -> None:
    pool, holder = quick(**limits), Holder()
    kept = pool.take(("a",), holder, open_one)[0]
    started = time.monotonic()
    with pytest.raises(Saturated):
        pool.take(("a",), holder, open_one)
    assert time.monotonic() - started > 0.04
    assert (pool.waited, pool.refused) == (1, 1)
    pool.give_back(("a",), kept)
    assert pool.take(("a",), holder, open_one)[0] is kept


def test_who_waits_gets_what_is_given_back(open_one: Open) -> None:
    pool, holder = Pool(Limits(per_database=1, wait_seconds=10)), Holder()
    kept = pool.take(("a",), holder, open_one)[0]
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(pool.take, ("a",), holder, open_one)
        while not pool.waited:
            time.sleep(0.01)
        pool.give_back(("a",), kept)
        assert waiting.result(60) == (kept, True)


@pytest.mark.parametrize("spoil", ["BEGIN", "ERROR", "AUTOCOMMIT", "CLOSED"])
def test_what_is_not_as_good_as_new_is_not_used_again(open_one: Open, spoil: str) -> None:
    pool, holder = quick(), Holder()
    connection = pool.take(("a",), holder, open_one)[0]
    if spoil == "AUTOCOMMIT":
        connection.autocommit = False
    elif spoil == "CLOSED":
        connection.close()
    else:
        connection.execute("BEGIN")
        if spoil == "ERROR":
            with pytest.raises(psycopg.Error):
                connection.execute("SELECT 1/0")
    pool.give_back(("a",), connection)
    assert connection.closed
    assert pool.counts() == (0, 0)


def test_the_idle_ones_go_with_a_broken_one(open_one: Open, deployment: Deployment) -> None:
    pool, holder = quick(), Holder()
    one, two = (pool.take(("a",), holder, open_one)[0] for _ in range(2))
    pool.give_back(("a",), two)
    with psycopg.connect(deployment.dsn(HOME, "postgres", ADMIN_ROLE), autocommit=True) as admin:
        pids = [each.info.backend_pid for each in (one, two)]
        admin.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) pid", (pids,))
    with pytest.raises(psycopg.OperationalError):
        one.execute("SELECT 1")
    pool.give_back(("a",), one)
    assert pool.counts() == (0, 0)


def test_schemas_stay_with_the_connections_that_know_them(open_one: Open) -> None:
    pool, holder = quick(per_database=4, schemas=1000), Holder()
    schemas = [f"s{number}" for number in range(100)]
    for _ in range(3):
        for schema in schemas:
            connection = pool.take(("a",), holder, open_one, schema)[0]
            pool.give_back(("a",), connection)
    known = [len(found) for found in pool._schemas.values()]
    assert len(known) == 4
    assert sum(known) == 100
    assert max(known) <= 30


def test_a_connection_that_knows_many_schemas_is_given_up(open_one: Open) -> None:
    pool, holder = quick(per_database=1, schemas=5), Holder()
    seen = set()
    for number in range(20):
        connection = pool.take(("a",), holder, open_one, f"s{number}")[0]
        seen.add(connection.info.backend_pid)
        pool.give_back(("a",), connection)
    assert len(seen) == 4
    assert pool.recycled == 4


def test_a_schema_waits_a_moment_for_the_connection_that_knows_it(open_one: Open) -> None:
    pool, holder = quick(per_database=2, patience=30), Holder()
    knows = pool.take(("a",), holder, open_one, "s")[0]
    with ThreadPoolExecutor(1) as threads:
        later = threads.submit(pool.take, ("a",), holder, open_one, "s")
        with pytest.raises(TimeoutError):
            later.result(timeout=0.1)
        # Another schema's does not wait for it.
        pool.give_back(("a",), pool.take(("a",), holder, open_one, "other")[0])
        pool.give_back(("a",), knows)
        assert later.result(timeout=30)[0] is knows


def test_who_holds_a_connection_for_long_is_not_waited_for(open_one: Open) -> None:
    pool, holder = quick(per_database=2), Holder()
    knows = pool.take(("a",), holder, open_one, "s")[0]
    other = pool.take(("a",), holder, open_one, "s")[0]
    assert other is not knows
    pool.give_back(("a",), knows)
    assert pool.take(("a",), holder, open_one, "s")[0] is knows


def test_what_a_dead_thread_held_is_found_again(open_one: Open) -> None:
    pool = quick(per_database=1)
    lost = pool.take(("a",), Holder(), open_one)[0]
    assert pool.take(("a",), Holder(), open_one)[0] is not lost
    assert lost.closed


def test_many_threads_never_share_a_connection_or_pass_the_bounds(open_one: Open) -> None:
    pool = Pool(Limits(total=5, per_database=3, wait_seconds=30, schemas=7))
    busy: set[int] = set()
    lock, most, holder = threading.Lock(), [0], Holder()

    def work(number: int) -> None:
        for turn in range(15):
            key = (str((number + turn) % 4),)
            schema = f"s{(number * turn) % 11}" if key == ("0",) else None
            connection, _ = pool.take(key, holder, open_one, schema)
            with lock:
                assert id(connection) not in busy
                busy.add(id(connection))
                most[0] = max(most[0], len(busy))
            connection.execute("SELECT 1")
            with lock:
                busy.discard(id(connection))
            pool.give_back(key, connection)

    with ThreadPoolExecutor(10) as threads:
        list(threads.map(work, range(10)))
    assert most[0] <= 5
    used, idle = pool.counts()
    assert used == 0
    assert idle <= 5


def test_a_forked_child_leaves_its_parents_connections_alone(tenants) -> None:
    tenant = tenants["shared"][0]
    with tenant_scope(tenant):
        Tag.objects.count()
        connections[cell_alias(tenant.cell)].close()
    parent = process_pool()
    assert parent.counts()[1] >= 1
    child = os.fork()
    if not child:  # pragma: no cover - another process
        different = process_pool() is not parent and process_pool().counts() == (0, 0)
        os._exit(0 if different else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with tenant_scope(tenant):
        assert Tag.objects.count() >= 0


def test_requests_in_any_thread_use_the_same_connection(tenants) -> None:
    first, second = tenants["shared"]

    def request(tenant: TenantRecord) -> int:
        with tenant_scope(tenant):
            Tag.objects.count()
            pid = connections[cell_alias(tenant.cell)].connection.info.backend_pid
        close_old_connections()
        return pid

    close_old_connections()
    process_pool().forget()
    pids = set()
    for tenant in (first, second, first):
        with ThreadPoolExecutor(1) as thread:
            pids.add(thread.submit(request, tenant).result())
    assert len(pids) == 1


def test_a_schema_cells_scopes_move_to_the_connection_that_knows_them(tenants) -> None:
    first, second = tenants["schema"]
    alias = cell_alias(first.cell)
    close_old_connections()
    process_pool().forget()
    seen: dict[str, set[int]] = {}
    for tenant in (first, second, first, second):
        with tenant_scope(tenant):
            Tag.objects.count()
            pid = connections[alias].connection.info.backend_pid
            seen.setdefault(tenant.slug, set()).add(pid)
    assert [len(pids) for pids in seen.values()] == [1, 1]
    assert set.union(*seen.values()) != seen[first.slug]


def test_a_saturated_process_says_when_to_come_back(
    tenants, monkeypatch: pytest.MonkeyPatch, settings
) -> None:
    settings.MERIDIAN_REGION = HOME
    tenant = tenants["shared"][0]
    small = Pool(Limits(per_database=1, wait_seconds=0.05))
    close_old_connections()
    monkeypatch.setattr("tenants.backend.base.process_pool", lambda: small)
    monkeypatch.setattr(pools, "process_pool", lambda: small)

    def hold(ready: threading.Event, go: threading.Event) -> None:
        with tenant_scope(tenant):
            Tag.objects.count()
            assert connections[cell_alias(tenant.cell)].connection.pgconn.transaction_status == (
                TransactionStatus.IDLE
            )
            ready.set()
            go.wait(60)
        close_old_connections()

    ready, go = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as thread:
        held = thread.submit(hold, ready, go)
        assert ready.wait(60)
        with tenant_scope(tenant), pytest.raises(Saturated) as refused:
            Tag.objects.count()
        answer = explain(RequestFactory().get("/"), refused.value)
        go.set()
        held.result()
    assert answer is not None
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")
    with tenant_scope(tenant):
        Tag.objects.count()
    close_old_connections()
    small.forget()
