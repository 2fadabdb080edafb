"""Behind a real PgBouncer in transaction mode: many tenants' statements share few sessions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.conf import settings
from django.db import DatabaseError, connection, connections, transaction

from desk.models import Customer, Tag
from regions import cells
from regions.deployment import APP_ROLE, Deployment
from regions.topology import database_name
from tenants.context import tenant_scope
from tenants.databases import cell_alias
from tenants.directory import TenantRecord
from tenants.doctor import pooler as doctor
from testkit.control import forget_maps, publish_maps
from testkit.debian import NotToBeHad
from tests.pgbouncer import find, pooling
from tests.settings import TEST_PLAN
from tests.tenants.attacks.conftest import theirs
from tests.tenants.attacks.test_session import LEFTOVERS, state
from tests.tenants.conftest import HOME
from tests.tenants.detour import reached_through
from tests.tenants.web.servers import web
from tests.tenants.workers import until

Pair = tuple[TenantRecord, TenantRecord]
Tenants = dict[str, Pair]


@pytest.fixture(scope="module")
def folder() -> Path:
    try:
        find()
    except NotToBeHad as reason:
        pytest.skip(f"NOTHING BEHIND A POOLER IS TESTED ON THIS MACHINE: {reason}")
    made = TEST_PLAN.state / "pgbouncer"
    made.mkdir(exist_ok=True)
    return made


@pytest.fixture(scope="module")
def port(folder: Path, deployment: Deployment) -> Iterator[int]:
    """One session of PostgreSQL a database: whoever comes next is in the last one's."""
    with pooling(deployment, HOME, folder, size=1) as port:
        yield port


@pytest.fixture
def behind(port: int, deployment: Deployment, tenants: Tenants) -> Iterator[int]:
    """This process reaches its cells through the pooler."""
    with reached_through(port, deployment):
        yield port


@pytest.fixture
def customers(behind: int, pair: Pair) -> Pair:
    """The first of the two has one customer, the second has two."""
    for number, tenant in enumerate(pair, start=1):
        with tenant_scope(tenant):
            Customer.objects.all().delete()
            for serial in range(number):
                Customer.objects.create(name="Ann", email=f"ann{serial}@{tenant.slug}.example")
    return pair


def inject(tenant: TenantRecord, statement: str) -> None:
    """As if it were in the tenant's own request."""
    with tenant_scope(tenant), connection.cursor() as cursor:
        cursor.execute(statement)


def server_session(tenant: TenantRecord) -> int:
    """PostgreSQL's own number of the session that the next statement runs in."""
    with tenant_scope(tenant), connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_the_doctor_sees_the_pooler_and_only_there(behind: int, deployment: Deployment, pair: Pair):
    database = database_name(pair[0].cell)
    through: Deployment = settings.MERIDIAN_DEPLOYMENT
    with psycopg.connect(through.application_dsn(HOME, database), autocommit=True) as application:
        assert [found.check for found in doctor.check(application, HOME)] == ["pooler"]
    with psycopg.connect(deployment.dsn(HOME, database, APP_ROLE), autocommit=True) as direct:
        assert list(doctor.check(direct, HOME)) == []


@pytest.mark.parametrize("attack", LEFTOVERS)
def test_what_a_tenants_sql_leaves_does_not_reach_the_pools_next_tenant(
    customers: Pair, attack: str
):
    mine, other = customers
    if mine.mode == "dedicated":
        other = mine
    before = server_session(other)
    with tenant_scope(other):
        clean = state()
    with suppress(DatabaseError):
        inject(mine, attack)
    with tenant_scope(mine):
        connections[cell_alias(mine.cell)].close()
    with tenant_scope(other):
        assert state() == clean
        assert Customer.objects.count() == (1 if mine is other else 2)
        Tag.objects.get_or_create(name="writable")
    assert server_session(other) == before, "another session: nothing was proved"


@pytest.mark.parametrize("attack", ["BEGIN", "START TRANSACTION READ ONLY", "SELECT 1; BEGIN"])
def test_no_transaction_stays_open_to_hold_the_pools_session(customers: Pair, attack: str):
    mine, other = customers
    with pytest.raises(DatabaseError, match="pooler"):
        inject(mine, attack)
    if mine.mode != "dedicated":
        with tenant_scope(other):
            assert Customer.objects.count() == 2


def test_naming_the_other_tenants_rows_shows_none_of_them(customers: Pair):
    mine, other = customers
    if mine.mode == "dedicated":
        pytest.skip("nobody else's rows are in the database")
    with tenant_scope(other):
        assert Customer.objects.count() == 2
    with tenant_scope(mine), connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {theirs(other, 'desk_customer')}")
        assert cursor.fetchone()[0] == (1 if mine.mode == "shared" else 0)


def test_statements_are_never_prepared_in_the_pools_session(customers: Pair):
    """A driver that prepares what it sends often would meet its own names in another session."""
    for tenant in customers:
        with tenant_scope(tenant), connection.cursor() as cursor:
            for _ in range(8):
                cursor.execute("SELECT name FROM desk_customer WHERE name = %s", ["Ann"])
            cursor.execute("SELECT count(*) FROM pg_prepared_statements")
            assert cursor.fetchone()[0] == 0


def test_a_transaction_has_its_session_and_its_tenant_until_it_ends(customers: Pair):
    mine, other = customers
    with tenant_scope(mine):
        with transaction.atomic():
            Tag.objects.get_or_create(name="kept")
            with suppress(DatabaseError), transaction.atomic():
                connection.cursor().execute("SELECT * FROM no_such_table")
            with connection.cursor() as cursor, cursor.copy("COPY desk_tag TO STDOUT") as copy:
                assert b"kept" in b"".join(copy)
            assert Customer.objects.count() == 1
        with suppress(ZeroDivisionError), transaction.atomic():
            Tag.objects.create(name="undone")
            1 / 0  # noqa: B018
        assert not Tag.objects.filter(name="undone").exists()
    with tenant_scope(other):
        assert Customer.objects.count() == (1 if mine is other else 2)


def test_an_iterator_streams_within_a_transaction_and_leaves_no_cursor(customers: Pair):
    """Outside of one its next chunk would be asked of another session: it reads all rows first."""
    mine, other = customers
    for tenant, count in ((other, 2), (mine, 1)):
        with tenant_scope(tenant):
            rows = Customer.objects.iterator(chunk_size=1)
            next(rows)
            assert server_cursors() == 0
            assert len(list(rows)) == count - 1
            with transaction.atomic():
                rows = Customer.objects.iterator(chunk_size=1)
                next(rows)
                assert server_cursors() == 1
                assert len(list(rows)) == count - 1
                forgotten = Customer.objects.iterator(chunk_size=1)
                next(forgotten)
            assert server_cursors() == 0


def server_cursors() -> int:
    """Of the session that the next statement of this process' runs in."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_cursors WHERE name <> ''")
        return int(cursor.fetchone()[0])


def test_threads_of_many_tenants_share_the_few_sessions(
    behind: int, tenants: Tenants, deployment: Deployment
):
    everyone = [tenant for pair in tenants.values() for tenant in pair]

    def work(tenant: TenantRecord) -> set[str]:
        seen: set[str] = set()
        with tenant_scope(tenant):
            try:
                for number in range(6):
                    if number % 2:
                        seen |= set(Tag.objects.values_list("name", flat=True))
                        continue
                    with transaction.atomic():
                        Tag.objects.get_or_create(name=f"of-{tenant.slug}")
                        seen |= set(Tag.objects.values_list("name", flat=True))
            finally:
                connections.close_all()
        return {name for name in seen if name.startswith("of-")}

    with ThreadPoolExecutor(12) as threads:
        found = list(threads.map(work, everyone * 4))
    assert found == [{f"of-{tenant.slug}"} for tenant in everyone] * 4
    with cells.administrator(deployment, HOME) as admin:
        held = (
            "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND datname <> 'control'"
            " GROUP BY datname ORDER BY 1 DESC LIMIT 1"
        )
        # What this process had before it went through the pooler ends a moment after it is closed.
        until(lambda: admin.execute(held, [APP_ROLE]).fetchone() == (1,))


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_requests_of_many_tenants_see_only_their_own(
    port: int,
    folder: Path,
    deployment: Deployment,
    tenants: Tenants,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    interface: str,
):
    document = json.loads((TEST_PLAN.state / "deployment.json").read_text())
    for entry in document["regions"]:
        entry["map_dir"] = str(TEST_PLAN.state / entry["map_dir"])
        if entry["name"] == HOME:
            entry["pooler"] = {"host": "127.0.0.1", "port": port}
    (tmp_path / "deployment.json").write_text(json.dumps(document))
    (tmp_path / "secrets.json").symlink_to(TEST_PLAN.state / "secrets.json")
    monkeypatch.setenv("MERIDIAN_DIR", str(tmp_path))
    everyone = [tenant for pair in tenants.values() for tenant in pair]
    for tenant in everyone:
        with tenant_scope(tenant):
            Tag.objects.get_or_create(name=f"of-{tenant.slug}")
    publish_maps(deployment)

    async def ask(site: str) -> None:
        async with httpx.AsyncClient(base_url=site, trust_env=False, timeout=240) as client:
            asked = [
                (tenant, path)
                for _ in range(3)
                for tenant in everyone
                for path in ("sync", "async", "failing")
            ]
            answers = await asyncio.gather(
                *(client.get(f"/{path}", headers={"Host": t.hosts[0]}) for t, path in asked)
            )
        for (tenant, path), answer in zip(asked, answers, strict=True):
            if path == "failing":
                assert answer.status_code == 422, answer.text
                continue
            assert answer.status_code == 200, answer.text
            names = [name for name in answer.json()["names"] if name.startswith("of-")]
            assert names == [f"of-{tenant.slug}"]

    clients = _counter(folder)
    before = clients()
    try:
        with web(HOME, tmp_path / "web.log", interface) as at:
            asyncio.run(ask(f"http://127.0.0.1:{at}"))
    finally:
        forget_maps(deployment)
    assert clients() > before, "the server went around the pooler"


def _counter(folder: Path) -> Callable[[], Any]:
    """How many clients have logged in to the pooler."""
    return lambda: (folder / "pgbouncer.log").read_text().count("login attempt: db=cell_")
