"""The tenant in the same message as each statement: what it costs and when it is there."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.db import ProgrammingError, connections, transaction
from django.db.models import Count

from desk.models import Customer, Tag, Ticket
from tenants.context import tenant_scope
from tenants.databases import cell_alias
from tenants.directory import TenantRecord
from tenants.errors import NoTenantError, WrongTenantError

Pair = tuple[TenantRecord, TenantRecord]


@contextmanager
def messages_sent(alias: str) -> Iterator[list[str]]:
    """The queries on the wire, as libpq traces them."""
    sent: list[str] = []
    connections[alias].ensure_connection()
    session = connections[alias].connection.pgconn
    with tempfile.TemporaryFile("w+") as log:
        session.trace(log.fileno())
        try:
            yield sent
        finally:
            session.untrace()
            log.seek(0)
            sent += [line for line in log if "\tF\t" in line and "\tQuery\t" in line]


@pytest.fixture
def mine(pair: Pair) -> Iterator[TenantRecord]:
    with tenant_scope(pair[0]):
        Ticket.objects.all().delete()
        Customer.objects.all().delete()
        Tag.objects.all().delete()
        yield pair[0]


def test_a_statement_is_one_message(mine: TenantRecord):
    with messages_sent(cell_alias(mine.cell)) as sent:
        Customer.objects.count()
        list(Customer.objects.all())
        Customer.objects.filter(email="nobody").exists()
    assert len(sent) == 3


def test_a_transaction_costs_only_what_django_asks_for(mine: TenantRecord):
    alias = cell_alias(mine.cell)
    with messages_sent(alias) as sent, transaction.atomic(using=alias):
        Customer.objects.create(name="Ann", email="ann@example.org")
        Customer.objects.count()
    assert len(sent) == 4  # BEGIN, INSERT, SELECT, COMMIT


def test_the_orm_works_as_without_tenants(mine: TenantRecord):
    ann = Customer.objects.create(name="Ann", email="ann@example.org")
    again, created = Customer.objects.get_or_create(email="ann@example.org")
    assert (again.pk, created) == (ann.pk, False)
    ticket = Ticket.objects.create(title="Broken", customer=ann)
    ticket.tags.add(Tag.objects.create(name="a"), Tag.objects.create(name="b"))
    ticket.tags.add(*Tag.objects.all())
    assert ticket.tags.count() == 2
    counted = Customer.objects.annotate(tickets_made=Count("tickets")).get()
    assert counted.tickets_made == 1
    ticket.title = "Mended"
    ticket.save()
    with transaction.atomic(using=cell_alias(mine.cell)):
        assert Ticket.objects.select_for_update().get().title == "Mended"
    assert list(Ticket.objects.values_list("title", flat=True).iterator()) == ["Mended"]


def test_conflicts_are_resolved_within_the_tenant(mine: TenantRecord):
    Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
    Tag.objects.bulk_create([Tag(name="a")], ignore_conflicts=True)
    Customer.objects.create(name="Ann", email="ann@example.org")
    Customer.objects.bulk_create(
        [Customer(name="Anna", email="ann@example.org")],
        update_conflicts=True,
        update_fields=["name"],
        unique_fields=["email"],
    )
    assert Tag.objects.count() == 2
    assert Customer.objects.get().name == "Anna"


def test_raw_cursors_carry_the_tenant_however_they_are_used(mine: TenantRecord):
    from psycopg import sql

    alias = cell_alias(mine.cell)
    with connections[alias].cursor() as cursor:
        cursor.executemany("INSERT INTO desk_tag (name) VALUES (%s)", [["a"], ["b%"], ["c"]])
        assert cursor.rowcount == 3
        cursor.execute("SELECT name FROM desk_tag WHERE name LIKE 'b%' ORDER BY name")
        assert cursor.fetchall() == [("b%",)]
        cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("desk_tag")))
        assert cursor.fetchone() == (3,)
        assert cursor.nextset() is None
        cursor.execute("UPDATE desk_tag SET name = name || %(more)s", {"more": "!"})
        assert cursor.rowcount == 3


def test_copy_out_works_in_a_transaction_and_is_refused_outside(mine: TenantRecord):
    alias = cell_alias(mine.cell)
    Tag.objects.create(name="copied")
    statement = "COPY (SELECT name FROM desk_tag) TO STDOUT"
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        with cursor.copy(statement) as copy:
            assert b"".join(copy).strip() == b"copied"
        cursor.execute("SELECT count(*) FROM desk_tag")
        assert cursor.fetchone() == (1,)
    with (
        connections[alias].cursor() as cursor,
        pytest.raises(psycopg.NotSupportedError, match="needs a transaction"),
        cursor.copy(statement),
    ):
        pass


def test_a_savepoint_that_is_rolled_back_keeps_the_tenant(mine: TenantRecord):
    alias = cell_alias(mine.cell)
    with transaction.atomic(using=alias):
        Tag.objects.create(name="a")
        with pytest.raises(ProgrammingError), transaction.atomic(using=alias):
            connections[alias].cursor().execute("SELECT * FROM no_such_table")
        assert Tag.objects.count() == 1
        Tag.objects.create(name="b")
    assert Tag.objects.count() == 2


def test_nothing_is_left_in_the_session(mine: TenantRecord):
    alias = cell_alias(mine.cell)
    Customer.objects.count()
    with pytest.raises(ProgrammingError):
        connections[alias].cursor().execute("SELECT * FROM no_such_table")
    bare = connections[alias].connection.cursor()
    left = bare.execute("SELECT current_setting('meridian.context', true)").fetchone()
    assert left[0] in (None, "")


def test_without_a_tenant_tenant_models_are_refused(pair: Pair):
    with pytest.raises(NoTenantError):
        Customer.objects.count()
    with pytest.raises(NoTenantError):
        Customer.objects.using(cell_alias(pair[0].cell)).count()


def test_a_lazy_queryset_cannot_be_evaluated_after_its_scope(pair: Pair):
    with tenant_scope(pair[0]):
        later = Customer.objects.all()
    with pytest.raises(NoTenantError):
        list(later)


def test_another_cells_connection_is_refused(tenants):
    shared, dedicated = tenants["shared"][0], tenants["dedicated"][0]
    with tenant_scope(shared), pytest.raises(WrongTenantError):
        Customer.objects.using(cell_alias(dedicated.cell)).count()


def test_threads_keep_their_own_tenant(pair: Pair):
    def names(tenant: TenantRecord) -> set[str]:
        with tenant_scope(tenant):
            try:
                Tag.objects.get_or_create(name=tenant.slug)
                return {
                    name for _ in range(10) for name in Tag.objects.values_list("name", flat=True)
                }
            finally:
                connections.close_all()

    for tenant in pair:
        with tenant_scope(tenant):
            Tag.objects.all().delete()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(names, [*pair, *pair]))
    assert found == [{pair[0].slug}, {pair[1].slug}] * 2


def test_coroutines_keep_their_own_tenant(pair: Pair):
    for tenant in pair:
        with tenant_scope(tenant):
            Tag.objects.all().delete()
            Tag.objects.create(name=tenant.slug)

    async def names(tenant: TenantRecord) -> list[str]:
        with tenant_scope(tenant):
            for _ in range(5):
                await asyncio.sleep(0)
                found = [tag.name async for tag in Tag.objects.all()]
            return found

    async def together() -> list[list[str]]:
        try:
            return await asyncio.gather(*(names(tenant) for tenant in pair))
        finally:
            await sync_to_async(connections.close_all)()

    assert asyncio.run(together()) == [[pair[0].slug], [pair[1].slug]]
