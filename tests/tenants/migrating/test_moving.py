"""Tenants that come, go and move while their cell is migrated."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from tenants import lifecycle
from tenants.errors import MoveFailed, TenantNotActive
from tenants.models import Spare
from tests.tenants.conftest import EU, HOME, onboard, silent
from tests.tenants.migrating.conftest import brought, find_tenant, record_for, run_with
from tests.tenants.migrating.looking import applied, columns, run
from tests.tenants.migrating.shelf import MEANWHILE

PAGES = 'migrations.AddField("book", "pages", models.IntegerField(default=7)),'
ALL = "SELECT title, pages FROM shelf_book"


def move(slug: str, cell: str, progress: Callable[[str, int], None] = silent) -> Any:
    return lifecycle.move(slug, cell=cell, actor="test", progress=progress)


def test_a_tenant_that_is_being_migrated_is_not_moved(place, shelf):
    here, there = place("shared"), place("shared", tenants=0)
    shelf.add(PAGES)
    refused = []

    def try_to_move() -> None:
        with pytest.raises(TenantNotActive, match="moved, onboarded or migrated"):
            move(here.slugs[0], there.cell)
        refused.append(True)

    shelf.meanwhile(try_to_move)
    shelf.add("migrations.RunPython(meanwhile),", preamble=MEANWHILE)
    brought(here.cell)
    assert refused
    assert find_tenant(here.slugs[0]).cell_id == here.cell


def test_a_tenant_that_moves_away_after_the_plan_is_left_to_its_new_cell(place, shelf):
    here, there = place("schema", tenants=2), place("shared", tenants=0)
    last = here.tenants[-1]
    run(last, "INSERT INTO shelf_book (title) VALUES ('mine')")
    name = shelf.add(PAGES)
    report = run_with(here.cell, {2: lambda: move(last.slug, there.cell)})
    assert report.complete
    moved = record_for(find_tenant(last.slug))
    assert moved.cell == there.cell
    assert "pages" not in columns(moved, HOME)
    brought(there.cell)
    assert run(moved, ALL) == [("mine", 7)]
    assert name in applied(here.tenants[0], HOME)


def test_a_tenant_in_the_middle_of_a_move_is_waited_for_and_migrated_where_it_arrives(place, shelf):
    here, there = place("schema", tenants=2), place("shared", tenants=1)
    last = here.tenants[-1]
    run(last, "INSERT INTO shelf_book (title) VALUES ('mine')")
    name = shelf.add(PAGES)
    deep, on = threading.Event(), threading.Event()
    moves: list[Any] = []

    def progress(step: str, percent: int) -> None:
        if step.startswith("closing"):
            deep.set()
            assert on.wait(240)

    def go() -> None:
        try:
            moves.append(move(last.slug, there.cell, progress))
        finally:
            connections.close_all()  # this thread's

    mover = threading.Thread(target=go)

    def begin() -> None:
        mover.start()
        assert deep.wait(240)
        threading.Timer(0.5, on.set).start()

    report = run_with(here.cell, {2: begin})
    mover.join()
    assert moves
    assert report.complete
    assert not report.untouched
    assert brought(there.cell)["migrated"] == 1
    moved = record_for(find_tenant(last.slug))
    assert run(moved, ALL) == [("mine", 7)]
    assert name in applied(here.tenants[0], HOME)


def test_a_move_between_versions_is_refused_and_says_what_to_do(place, shelf):
    here, there = place("schema", tenants=1), place("shared", tenants=0)
    shelf.add(PAGES)
    brought(there.cell)
    with pytest.raises(MoveFailed, match=r"tables differ \(shelf_book\): migrate them first"):
        move(here.slugs[0], there.cell)
    brought(here.cell)
    assert move(here.slugs[0], there.cell).target == there.cell


def test_who_is_onboarded_by_old_code_during_a_run_is_brought_along(place, shelf):
    where = place("schema", EU, tenants=2)
    name = shelf.add(PAGES)
    slug = f"{where.cell}-late"

    def by_old_code() -> None:
        with shelf.without(name):
            onboard(slug, "schema", cell=where.cell)
        assert "pages" not in columns(record_for(find_tenant(slug)), HOME)

    report = run_with(where.cell, {2: by_old_code})
    assert report.complete
    assert report.total == 3
    late = record_for(find_tenant(slug))
    assert all("pages" in columns(late, region) for region in EU)
    assert brought(where.cell)["state"] == "nothing"


def test_rows_of_who_comes_into_shared_tables_meanwhile_are_changed_too(place, shelf):
    where = place("shared", tenants=2)
    slug = f"{where.cell}-late"

    def come() -> None:
        late = record_for(onboard(slug, "shared", cell=where.cell))
        run(late, "INSERT INTO shelf_book (title) VALUES ('late')")

    shelf.add(
        "migrations.RunPython(meanwhile), migrations.RunPython(shout),",
        preamble=MEANWHILE
        + """
def shout(apps, schema_editor):
    for book in apps.get_model("shelf", "Book").objects.all():
        book.title += "!"
        book.save()
""",
    )
    shelf.meanwhile(come)
    brought(where.cell)
    late = record_for(find_tenant(slug))
    assert run(late, "SELECT title FROM shelf_book") == [("late!",)]


def test_spares_of_the_old_structure_are_not_given_to_anybody(place, shelf, settings):
    where = place("schema", tenants=1)
    key = f"schema:{where.cell}"
    settings.MERIDIAN_SPARES = {"schema": 1}
    lifecycle.fill_pools(key=key, to=1, actor="test", progress=silent)
    (old,) = Spare.objects.filter(pool=key)
    shelf.add(PAGES)
    assert brought(where.cell)["migrated"] == 1
    late = record_for(onboard(f"{where.cell}-late", "schema", cell=where.cell))
    assert late.id != old.id
    assert "pages" in columns(late, HOME)
    lifecycle.fill_pools(key=key, to=1, actor="test", progress=silent)
    assert old.id not in set(Spare.objects.filter(pool=key).values_list("id", flat=True))
    lifecycle.drain_pools(key=key, actor="test", progress=silent)
    assert brought(where.cell)["state"] == "nothing"
