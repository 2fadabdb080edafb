"""Models that are renamed or dropped and fields that refuse NULL, in cells of several regions."""

from __future__ import annotations

import pytest

from tests.tenants.migrating.conftest import EU, brought
from tests.tenants.migrating.looking import applied, arrives, columns, dead_letters, run
from tests.tenants.replicas import differences

LABEL = """
migrations.CreateModel("Label", [
    ("id", models.BigAutoField(primary_key=True)),
    ("of", models.ForeignKey("contenttypes.ContentType", models.CASCADE)),
]),
"""
OF_A_BOOK = """
INSERT INTO shelf_label (of_id) SELECT id FROM django_content_type WHERE model = 'book'
"""
LABELLED = "SELECT t.model FROM shelf_label l JOIN django_content_type t ON t.id = l.of_id"
RENAME = 'migrations.RenameModel("Book", "Volume"),'
NOT_NULL = (
    'migrations.AlterField("book", "note", models.CharField(max_length=100, default="none")),'
)


@pytest.mark.parametrize("mode", ["shared", "schema"])
def test_generic_references_follow_a_renamed_model(place, shelf, mode: str):
    where = place(mode, EU)
    shelf.add(LABEL)
    brought(where.cell)
    for tenant in where.tenants:
        run(tenant, "INSERT INTO shelf_book (title) VALUES ('kept')")
        run(tenant, OF_A_BOOK)
    name = shelf.add(RENAME)
    brought(where.cell, "--contract")
    named = "SELECT id FROM django_content_type WHERE app_label = 'shelf' AND model = 'volume'"
    for region in EU:
        ids = {tuple(run(tenant, named, region=region)) for tenant in where.tenants}
        assert len(ids) == 1
        for tenant in where.tenants:
            arrives(tenant, LABELLED, [("volume",)], region=region)
            assert run(tenant, "SELECT title FROM shelf_volume", region=region) == [("kept",)]
            assert {mark for mark in applied(tenant, region) if "#" in mark} == set()
            assert name in applied(tenant, region)
    assert differences(where.cell) == []


def test_a_dropped_model_leaves_no_dead_letters_and_may_come_back(place, shelf):
    where = place("schema", EU)
    for tenant in where.tenants:
        for region in EU:
            run(tenant, "INSERT INTO shelf_book (title) VALUES ('gone')", region=region)
    shelf.add('migrations.DeleteModel("Book"),')
    brought(where.cell, "--contract")
    for tenant in where.tenants:
        assert all(columns(tenant, region) == set() for region in EU)
        assert dead_letters(tenant) == 0
    again = '("id", models.BigAutoField(primary_key=True)), ("title", models.TextField())'
    shelf.add(f'migrations.CreateModel("Book", [{again}]),')
    brought(where.cell)
    for tenant in where.tenants:
        run(tenant, "INSERT INTO shelf_book (title) VALUES ('new')")
        arrives(tenant, "SELECT title FROM shelf_book", [("new",)], region=EU[1])
    assert differences(where.cell) == []


@pytest.mark.parametrize("mode", ["shared", "schema"])
def test_rows_get_the_default_before_a_field_refuses_null(place, shelf, mode: str):
    where = place(mode, EU)
    for tenant in where.tenants:
        run(tenant, "INSERT INTO shelf_book (title, note) VALUES ('a', 'x'), ('b', NULL)")
    name = shelf.add(NOT_NULL)
    brought(where.cell, "--contract")
    notes = "SELECT note FROM shelf_book ORDER BY title"
    for tenant in where.tenants:
        for region in EU:
            arrives(tenant, notes, [("x",), ("none",)], region=region)
            assert name in applied(tenant, region)
        assert dead_letters(tenant) == 0
    assert differences(where.cell) == []
