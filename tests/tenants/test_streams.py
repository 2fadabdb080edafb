"""`iterator()` inside a tenant: the process gets its rows a chunk at a time, never all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction
from django.db.utils import InterfaceError

from desk.models import Customer, Tag, Ticket
from regions.deployment import Deployment
from regions.topology import database_name
from tenants.context import tenant_scope
from tenants.databases import cell_alias
from tenants.directory import TenantRecord
from tests.tenants.conftest import HOME
from tests.tenants.detour import reached_through
from tests.tenants.web.proxy import Wire, counting

ROWS, CHUNK = 450, 100
Pair = tuple[TenantRecord, TenantRecord]
Block = Callable[[], AbstractContextManager[Any]]


@pytest.fixture(params=["transaction", "autocommit"])
def block(request: pytest.FixtureRequest) -> Block:
    return transaction.atomic if request.param == "transaction" else nullcontext


@pytest.fixture
def tenant(pair: Pair) -> Iterator[TenantRecord]:
    """In scope, with `ROWS` tags of its own; the other one has some too."""
    for each, count in zip(pair, (ROWS, 7), strict=True):
        with tenant_scope(each):
            Ticket.objects.all().delete()
            Customer.objects.all().delete()
            Tag.objects.all().delete()
            Tag.objects.bulk_create([Tag(name=f"{each.slug}-{n:04}") for n in range(count)])
    with tenant_scope(pair[0]):
        yield pair[0]
        Tag.objects.all().delete()
    connections.close_all()


@pytest.fixture
def wire(tenant: TenantRecord, deployment: Deployment) -> Iterator[Wire]:
    """Between this process and its cells."""
    with (
        counting(deployment.region(HOME).postgres) as (port, wire),
        reached_through(port, deployment),
    ):
        yield wire


def names(tenant: TenantRecord) -> list[str]:
    return [f"{tenant.slug}-{n:04}" for n in range(ROWS)]


def open_cursors() -> list[str]:
    """Of this thread's session."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_cursors WHERE name <> ''")
        return [name for (name,) in cursor.fetchall()]


def arrived(wire: Wire, tenant: TenantRecord) -> int:
    return wire.rows[database_name(tenant.cell)]


def test_no_more_rows_arrive_than_the_chunk_that_is_read(
    tenant: TenantRecord, wire: Wire, block: Block
):
    tags = Tag.objects.order_by("name")
    with block():
        Tag.objects.exists()
        before = arrived(wire, tenant)
        rows = tags.iterator(chunk_size=CHUNK)
        assert next(rows).name == names(tenant)[0]
        assert CHUNK <= arrived(wire, tenant) - before < 2 * CHUNK
        assert [row.name for row in rows] == names(tenant)[1:]
        assert arrived(wire, tenant) - before >= ROWS


def test_without_server_side_cursors_all_of_them_arrive_at_once(
    tenant: TenantRecord, wire: Wire, block: Block, monkeypatch: pytest.MonkeyPatch
):
    """The control of the test above, and Django's setting for who wants that."""
    connection.ensure_connection()
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    with block():
        before = arrived(wire, tenant)
        next(Tag.objects.iterator(chunk_size=CHUNK))
        assert arrived(wire, tenant) - before >= ROWS


def test_an_asynchronous_iterator_streams_as_well(tenant: TenantRecord, wire: Wire):
    async def go() -> list[str]:
        found = []
        try:
            await sync_to_async(anew)()
            await Tag.objects.aexists()
            before = arrived(wire, tenant)
            async for row in Tag.objects.order_by("name").aiterator(chunk_size=CHUNK):
                if not found:
                    assert CHUNK <= arrived(wire, tenant) - before < 2 * CHUNK
                found.append(row.name)
        finally:
            await sync_to_async(anew)()
        return found

    def anew() -> None:
        """The thread outlives the test, and so would what it knows of how the cell is reached."""
        alias = cell_alias(tenant.cell)
        connections[alias].close()
        del connections[alias]

    assert asyncio.run(go()) == names(tenant)


def test_it_takes_a_round_trip_a_chunk_and_one_at_each_end(
    tenant: TenantRecord, wire: Wire, block: Block
):
    with block():
        for _ in range(2):  # whether there is a pooler is asked once a connection
            Tag.objects.exists()
            with wire.trips() as trips:
                assert len(list(Tag.objects.iterator(chunk_size=CHUNK))) == ROWS
    assert dict(trips) == {database_name(tenant.cell): 1 + 5 + 1}


def test_other_statements_go_in_between(tenant: TenantRecord, block: Block):
    first = Tag.objects.order_by("pk")[0]
    with block():
        outer = Tag.objects.order_by("name").iterator(chunk_size=3)
        for number, row in enumerate(outer):
            if number % 100 == 0:
                inner = Tag.objects.order_by("pk").iterator(chunk_size=CHUNK)
                assert next(inner) == first
                Tag.objects.filter(pk=row.pk).update(name=f"{row.name}!")
                Tag.objects.create(name=f"zz-{number}")
        changed = Tag.objects.filter(name__endswith="!").count()
        assert (number + 1, changed) == (ROWS, 5)


def test_it_brings_related_rows_and_values(tenant: TenantRecord, block: Block):
    customer = Customer.objects.create(name="Ann", email="ann@stream.example")
    for title in ("one", "two", "three"):
        ticket = Ticket.objects.create(title=title, customer=customer)
        ticket.tags.add(Tag.objects.order_by("name")[0])
    with block():
        tickets = Ticket.objects.order_by("pk").prefetch_related("tags").select_related("customer")
        found = [
            (ticket.title, ticket.customer.name, [tag.name for tag in ticket.tags.all()])
            for ticket in tickets.iterator(chunk_size=2)
        ]
        titles = Ticket.objects.order_by("pk").values_list("title", flat=True)
        assert list(titles.iterator(chunk_size=2)) == ["one", "two", "three"]
    first = names(tenant)[0]
    assert found == [(title, "Ann", [first]) for title in ("one", "two", "three")]


def test_its_rows_can_be_locked(tenant: TenantRecord):
    with transaction.atomic():
        locked = Tag.objects.order_by("name").select_for_update().iterator(chunk_size=CHUNK)
        assert sum(1 for _ in locked) == ROWS


def test_parameters_and_trailing_comments_are_its_querys_own(tenant: TenantRecord, block: Block):
    with block(), connection.chunked_cursor() as cursor:
        cursor.execute(
            "SELECT name, '100%%' FROM desk_tag WHERE name = %s -- ;", [names(tenant)[1]]
        )
        assert [column.name for column in cursor.description] == ["name", "?column?"]
        assert cursor.fetchone() == (names(tenant)[1], "100%")
        assert cursor.fetchone() is None
        cursor.execute("SELECT name FROM desk_tag ORDER BY name")
        assert [name for (name,) in cursor] == names(tenant)


def test_a_query_that_fails_leaves_no_cursor(tenant: TenantRecord, block: Block):
    with block():
        for failing in ("SELECT no_such_column FROM desk_tag", "SELECT 1 / (1 - n) FROM a(n)"):
            with suppress(Exception), transaction.atomic(), connection.chunked_cursor() as cursor:
                cursor.execute(failing)
                cursor.fetchone()
        assert open_cursors() == []
    assert connection.tenant_session.owner is None


def test_the_session_is_as_good_as_new_afterwards(tenant: TenantRecord, block: Block):
    with block():
        assert len(list(Tag.objects.iterator(chunk_size=CHUNK))) == ROWS
        left = Tag.objects.iterator(chunk_size=CHUNK)
        next(left)
        assert len(open_cursors()) == 1
        left.close()
        assert open_cursors() == []
        before = connection.connection.info.backend_pid
    connection.close_if_unusable_or_obsolete()
    Tag.objects.exists()
    assert connection.connection.info.backend_pid == before


def test_an_iterator_that_a_request_forgot_ends_with_it(tenant: TenantRecord):
    forgotten = Tag.objects.iterator(chunk_size=CHUNK)
    for _ in range(CHUNK):
        next(forgotten)
    before = connection.connection.info.backend_pid
    connections[cell_alias(tenant.cell)].close_if_unusable_or_obsolete()
    with pytest.raises(InterfaceError, match="was closed"):
        next(forgotten)
    assert open_cursors() == []
    assert connection.connection.info.backend_pid != before


def test_an_operators_own_session_streams_without_a_tenant(control: Deployment):
    from tenants.models import Tenant

    assert {tenant.slug for tenant in Tenant.objects.iterator(chunk_size=1)} >= {"acme-shared"}
