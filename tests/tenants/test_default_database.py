"""Code that knows of no cells says `default`, or nothing: in a scope that is the tenant's cell."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.db import (
    close_old_connections,
    connection,
    connections,
    reset_queries,
    router,
    transaction,
)
from django.db.models import Model

from desk.models import Customer, Tag, Ticket
from regions.models import Region
from tenants.context import tenant_scope
from tenants.databases import cell_alias
from tenants.directory import TenantRecord
from tenants.models import Tenant

Pair = tuple[TenantRecord, TenantRecord]


class Refused(Exception):
    """What a view raises halfway."""


@pytest.fixture
def mine(pair: Pair) -> Iterator[TenantRecord]:
    with tenant_scope(pair[0]):
        models: tuple[type[Model], ...] = (Ticket, Customer, Tag)
        for model in models:
            model._default_manager.all().delete()
        yield pair[0]


def test_atomic_without_a_database_undoes_what_the_tenant_wrote(mine: TenantRecord):
    with pytest.raises(Refused), transaction.atomic():
        Tag.objects.create(name="undone")
        assert not connections["control"].in_atomic_block
        raise Refused
    assert not Tag.objects.exists()


def test_savepoints_and_hooks_without_a_database_belong_to_the_tenants_transaction(
    mine: TenantRecord,
):
    called: list[str] = []
    with transaction.atomic():
        Tag.objects.create(name="kept")
        transaction.on_commit(lambda: called.append("kept"))
        with pytest.raises(Refused), transaction.atomic():
            Tag.objects.create(name="undone")
            transaction.on_commit(lambda: called.append("undone"))
            raise Refused
        assert called == []
    assert called == ["kept"]
    assert [tag.name for tag in Tag.objects.all()] == ["kept"]


def test_cursors_and_querysets_of_the_default_database_see_the_tenants_rows(pair: Pair):
    for tenant in pair:
        with tenant_scope(tenant):
            Tag.objects.all().delete()
            Tag.objects.using("default").create(name=tenant.slug)
    for tenant in pair:
        with tenant_scope(tenant), connection.cursor() as cursor:
            cursor.execute("SELECT name FROM desk_tag")
            assert cursor.fetchall() == [(tenant.slug,)]
            assert Tag.objects.using("default").get().name == tenant.slug
            assert connection.alias == transaction.get_connection().alias == cell_alias(tenant.cell)


def test_outside_a_scope_the_default_database_is_the_control_cell(pair: Pair):
    assert connection.alias == "control"
    assert connections["default"] is connections["control"]
    with transaction.atomic():
        assert connections["control"].in_atomic_block
        assert Tenant.objects.filter(slug=pair[0].slug).exists()


def test_the_control_cell_can_be_read_inside_a_scope(mine: TenantRecord):
    assert Tenant.objects.get(slug=mine.slug)._state.db == "control"
    assert Region.objects.exists()
    with transaction.atomic(using="control"):
        assert not connection.in_atomic_block


def test_objects_of_both_names_of_a_cell_relate(mine: TenantRecord):
    customer = Customer.objects.using("default").create(name="Ann", email="ann@example.org")
    ticket = Ticket.objects.create(title="Broken", customer=customer)
    ticket.tags.add(Tag.objects.using("default").create(name="urgent"))
    assert Ticket.objects.get(tags__name="urgent").customer == customer
    with tenant_scope(None):
        tenant = Tenant.objects.get(slug=mine.slug)
    assert router.allow_relation(customer, ticket)
    assert not router.allow_relation(customer, tenant)


def test_an_object_of_the_control_cell_is_not_related_to_a_tenants(mine: TenantRecord):
    tag = Tag.objects.create(name="mine")
    assert router.allow_relation(tag, Region.objects.get(name="eu-west")) is False


def test_connections_are_closed_once_each_whoever_is_in_scope(pair: Pair):
    opened = []
    for tenant in pair:
        with tenant_scope(tenant):
            Tag.objects.exists()
            opened.append(connection.alias)
    with tenant_scope(pair[0]):
        aliases = [each.alias for each in connections.all(initialized_only=True)]
        assert set(opened) | {"control"} <= set(aliases)
        assert len(aliases) == len(set(aliases))
        connections["default"].close_at = 0
        close_old_connections()
        assert connections[cell_alias(pair[0].cell)].connection is None
        assert connections["default"] not in connections.all(initialized_only=True)
        assert Tag.objects.count() >= 0


def test_a_closed_connections_log_of_queries_is_emptied_all_the_same(mine: TenantRecord):
    wrapper = connections["default"]
    wrapper.force_debug_cursor = True
    try:
        Tag.objects.exists()
        wrapper.close()
        assert wrapper.queries_log
        reset_queries()
        assert not wrapper.queries_log
    finally:
        wrapper.force_debug_cursor = False


def test_commands_and_test_cases_see_one_database(mine: TenantRecord):
    Tag.objects.exists()
    assert list(connections) == ["default"]


def test_coroutines_find_their_own_default_database(tenants: dict[str, Pair]):
    async def aliases(tenant: TenantRecord) -> set[str]:
        with tenant_scope(tenant):
            found = set()
            for _ in range(5):
                await asyncio.sleep(0)
                found.add(await sync_to_async(lambda: connection.alias)())
            return found

    async def together() -> list[set[str]]:
        return await asyncio.gather(*(aliases(pair[0]) for pair in tenants.values()))

    wanted = [{cell_alias(pair[0].cell)} for pair in tenants.values()]
    assert asyncio.run(together()) == wanted


def test_fixtures_are_dumped_and_loaded_in_the_tenants_cell(pair: Pair, tmp_path: Path):
    mine, theirs = pair
    for tenant in pair:
        with tenant_scope(tenant):
            Ticket.objects.all().delete()
            Tag.objects.all().delete()
    with tenant_scope(mine):
        ticket = Ticket.objects.create(title="Broken")
        ticket.tags.add(Tag.objects.create(name="urgent"))
    dump = io.StringIO()
    command = ("tenant", "exec", mine.slug, "--")
    call_command(*command, "dumpdata", "desk", "--output", str(tmp_path / "desk.json"))
    call_command(*command, "dumpdata", "desk.tag", stdout=dump)
    rows = json.loads((tmp_path / "desk.json").read_text())
    assert sorted(row["model"] for row in rows) == ["desk.tag", "desk.ticket"]
    with tenant_scope(mine):
        Ticket.objects.all().delete()
        Tag.objects.all().delete()
    for row in rows:
        row["pk"] += 3200  # far beyond what the sequences have drawn
        if "tags" in row["fields"]:
            row["fields"]["tags"] = [row["fields"]["tags"][0] + 3200]
    (tmp_path / "desk.json").write_text(json.dumps(rows))
    call_command(*command, "loaddata", str(tmp_path / "desk.json"), "--verbosity", "0")
    with tenant_scope(mine):
        loaded = Ticket.objects.get(tags__name="urgent")
        assert loaded.title == "Broken"
        assert [Ticket.objects.create(title="New").pk > loaded.pk for _ in range(3)] == [True] * 3
    with tenant_scope(theirs):
        assert not Ticket.objects.exists()


def test_a_database_of_your_own_is_left_to_your_own_router(mine: TenantRecord):
    assert router.allow_migrate("reports", "desk")
    assert router.allow_migrate("control:owner", "desk") is False
    assert router.allow_migrate("default", "desk")
    with tenant_scope(None):
        assert router.allow_migrate("default", "desk") is False
