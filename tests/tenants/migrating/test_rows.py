"""Migrations that change rows: once a tenant, where the cell is written, replicated."""

from __future__ import annotations

import pytest

from tests.tenants.conftest import MODES
from tests.tenants.migrating.conftest import EU, HOME, brought, migrate
from tests.tenants.migrating.looking import applied, arrives, columns, run
from tests.tenants.replicas import differences

SHOUT = """
def shout(apps, schema_editor):
    Book = apps.get_model("shelf", "Book")
    for book in Book.objects.all():
        book.title = book.title + "!"
        book.save()
    Book.objects.create(title=f"one of {Book.objects.count()}")
"""
ALL_IN_ONE = (
    'migrations.AddField("book", "pages", models.IntegerField(null=True)),'
    "migrations.RunPython(shout, migrations.RunPython.noop),"
    'migrations.AddField("book", "colour", models.CharField(max_length=9, default="red")),'
)


@pytest.mark.parametrize("mode", MODES)
def test_python_runs_once_for_each_tenant_with_that_tenants_rows(place, shelf, mode: str):
    where = place(mode, EU, tenants=1 if mode == "dedicated" else 2)
    for number, tenant in enumerate(where.tenants, start=1):
        for _ in range(number):
            run(tenant, "INSERT INTO shelf_book (title) VALUES ('hush')")
    name = shelf.add(ALL_IN_ONE, preamble=SHOUT)
    brought(where.cell)
    for number, tenant in enumerate(where.tenants, start=1):
        wanted = [("hush!", "red")] * number + [(f"one of {number}", "red")]
        for region in EU:
            titles = "SELECT title, colour FROM shelf_book ORDER BY title"
            assert run(tenant, titles, region=region) == wanted
            assert {mark for mark in applied(tenant, region) if "#" in mark} == set()
            assert name in applied(tenant, region)
    assert differences(where.cell) == []


def test_sql_that_changes_rows_runs_once_and_is_replicated(place, shelf):
    where = place("schema", EU, tenants=1)
    (tenant,) = where.tenants
    run(tenant, "INSERT INTO shelf_book (title) VALUES ('a')")
    shelf.add("""migrations.RunSQL("UPDATE shelf_book SET title = title || '+'"),""")
    brought(where.cell)
    for region in EU:
        arrives(tenant, "SELECT title FROM shelf_book", [("a+",)], region=region)


def test_sql_that_changes_structure_runs_in_every_replica(place, shelf):
    where = place("schema", EU)
    shelf.add(
        """migrations.RunSQL("CREATE VIEW shelf_titles AS SELECT title FROM shelf_book;"
        "CREATE INDEX shelf_lower ON shelf_book (lower(title))"),"""
    )
    brought(where.cell)
    for tenant in where.tenants:
        for region in EU:
            assert columns(tenant, region, "shelf_titles") == {"title"}


def test_what_fails_for_one_tenant_of_a_shared_cell_is_done_for_the_others_and_repeated_for_it(
    place, shelf
):
    where = place("shared", tenants=3)
    bad = where.tenants[1]
    for tenant in where.tenants:
        run(tenant, "INSERT INTO shelf_book (title, note) VALUES ('x', %s)", tenant.slug)
    name = shelf.add(
        "migrations.RunPython(shout),",
        preamble=f"""
        def shout(apps, schema_editor):
            for book in apps.get_model("shelf", "Book").objects.all():
                if book.note == "{bad.slug}":
                    raise ValueError("not this one")
                book.title += "!"
                book.save()
        """,
    )
    report = migrate(where.cell)
    assert report["status"] == 1
    assert bad.slug in report["units"][0]["error"]
    titles = [run(tenant, "SELECT title FROM shelf_book")[0][0] for tenant in where.tenants]
    assert titles == ["x!", "x", "x!"]
    assert name not in applied(bad, HOME)
    shelf.replace(name, "not this one", "")
    shelf.replace(name, "raise ValueError", "print")
    brought(where.cell, "--retry-quarantined")
    titles = [run(tenant, "SELECT title FROM shelf_book")[0][0] for tenant in where.tenants]
    assert titles == ["x!", "x!", "x!"]
    assert applied(bad, HOME) == {"0001_initial", name}


def test_an_index_is_made_concurrently_outside_of_a_transaction(place, shelf):
    where = place("schema", EU)
    name = shelf.add(
        'AddIndexConcurrently("book", models.Index(fields=["title"], name="shelf_conc")),',
        atomic=False,
    )
    brought(where.cell)
    for tenant in where.tenants:
        for region in EU:
            found = run(
                tenant,
                "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('shelf_conc')",
                region=region,
            )
            assert found == [(True,)]
            assert name in applied(tenant, region)


def test_an_operation_that_nobody_knows_runs_for_real_in_every_replica(place, shelf):
    where = place("schema", EU)
    shelf.add(
        "Comment(),",
        preamble="""
        class Comment(migrations.operations.base.Operation):
            reversible = True
            def state_forwards(self, app_label, state): pass
            def database_forwards(self, app_label, schema_editor, from_state, to_state):
                schema_editor.execute("COMMENT ON TABLE shelf_book IS 'seen'")
        """,
    )
    brought(where.cell)
    for tenant in where.tenants:
        for region in EU:
            comment = "SELECT obj_description('shelf_book'::regclass)"
            assert run(tenant, comment, region=region) == [("seen",)]
