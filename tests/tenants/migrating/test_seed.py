"""What migrations and handlers write reaches those who are there, and those who come later."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.db import connections
from django.db.models.signals import post_migrate

from tenants.context import current_tenant
from tenants.directory import TenantRecord
from tenants.models import Tenant
from tenants.seams import record_for
from tests.tenants.conftest import onboard
from tests.tenants.migrating import looking
from tests.tenants.migrating.conftest import EU, HOME, Place, brought, migrate
from tests.tenants.migrating.looking import run
from tests.tenants.replicas import differences

STOCK = """
def stock(apps, schema_editor):
    from tests.tenants.migrating import looking
    apps.get_model("shelf", "Book").objects.create(title="for all")
    looking.meanwhile()
"""
ONE_MORE = 'migrations.AddField("book", "pages", models.IntegerField(null=True)),'


def titles(tenant: TenantRecord, region: str | None = None) -> list[str]:
    found = run(tenant, "SELECT title FROM shelf_book ORDER BY title", region=region)
    return [title for (title,) in found]


def another(where: Place) -> TenantRecord:
    return record_for(onboard(f"n{uuid4().hex[:8]}", where.mode, cell=where.cell))


@contextmanager
def during(action: Any) -> Iterator[list[TenantRecord]]:
    """The migration above does it in its midst, once; the tenant is there at the end."""
    made: list[TenantRecord] = []
    threads: list[threading.Thread] = []

    def work() -> None:
        try:
            made.append(action())
        finally:
            connections.close_all()

    def begin() -> None:
        if threads:
            return
        threads.append(threading.Thread(target=work))
        before = Tenant.objects.count()
        threads[0].start()
        deadline = time.monotonic() + 240
        while Tenant.objects.count() == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    looking.meanwhile = begin
    try:
        yield made
    finally:
        looking.meanwhile = lambda: None
        for thread in threads:
            thread.join(timeout=240)


@pytest.mark.parametrize("seeded", [False, True])
def test_who_comes_while_a_migration_runs_has_its_rows_once(place, shelf, seeded: bool):
    where = place("shared", tenants=1)
    if seeded:
        shelf.add("migrations.RunPython(stock),", preamble=STOCK)
        brought(where.cell)
    shelf.add("migrations.RunPython(stock),", preamble=STOCK)
    with during(lambda: another(where)) as made:
        brought(where.cell)
    for tenant in (*where.tenants, *made, another(where)):
        assert titles(tenant) == ["for all"] * (2 if seeded else 1)
    assert len(made) == 1


@contextmanager
def handler(write: Any) -> Iterator[None]:
    config = apps.get_app_config("shelf")
    post_migrate.connect(write, sender=config, weak=False, dispatch_uid="shelf")
    try:
        yield
    finally:
        post_migrate.disconnect(sender=config, dispatch_uid="shelf")


def keep(using: str, **kwargs: Any) -> None:
    book = apps.get_model("shelf", "Book")
    book.objects.using(using).get_or_create(title="handled")


@pytest.mark.parametrize("mode", ["shared", "schema"])
def test_who_is_there_and_who_comes_later_has_what_migrations_and_handlers_write(
    place, shelf, mode: str
):
    where = place(mode, EU, tenants=2)
    shelf.add(f"{ONE_MORE} migrations.RunPython(stock),", preamble=STOCK)
    with handler(keep):
        brought(where.cell)
        for tenant in (*where.tenants, another(where)):
            for region in EU:
                assert titles(tenant, region) == ["for all", "handled"]
        assert differences(where.cell) == []
        assert migrate(where.cell)["state"] == "nothing"


def test_a_handler_that_failed_is_called_again(place, shelf):
    where = place("schema", tenants=2)
    name = shelf.add(ONE_MORE)
    bad = where.tenants[0]

    def fail(using: str, **kwargs: Any) -> None:
        if current_tenant().slug == bad.slug:
            raise ValueError
        keep(using)

    with handler(fail):
        assert migrate(where.cell)["failed"] == 1
    assert titles(bad) == []
    with handler(keep):
        brought(where.cell, "--retry-quarantined")
    for tenant in where.tenants:
        assert titles(tenant) == ["handled"]
        assert looking.applied(tenant, HOME) == {"0001_initial", name}
