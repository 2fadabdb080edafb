"""Real writers in every region go on while their tenants are migrated: no error, no lost row."""

from __future__ import annotations

import pytest

from tests.tenants.migrating.conftest import EU, HOME, Place, brought
from tests.tenants.migrating.looking import arrives, columns, dead_letters, run
from tests.tenants.migrating.writers import Writer, writing
from tests.tenants.replicas import differences

EXPAND = (
    'migrations.AddField("book", "pages", models.IntegerField(default=7)),'
    "migrations.RunPython(count_letters),"
    'migrations.AddIndex("book", models.Index(fields=["pages"], name="shelf_pages")),'
)
COUNT = """
def count_letters(apps, schema_editor):
    apps.get_model("shelf", "Book").objects.update(pages=F("id") * 0 + 1)
"""
FINISHED = "SELECT title FROM shelf_book WHERE title NOT LIKE '%%…' ORDER BY title COLLATE \"C\""


def nothing_is_lost(where: Place, writers: list[Writer]) -> None:
    assert [writer.failures for writer in writers if writer.failures] == []
    for tenant in where.tenants:
        mine = [writer for writer in writers if writer.tenant.id == tenant.id]
        wanted = sorted(title for writer in mine for title in writer.acknowledged)
        for region in where.regions:
            arrives(tenant, FINISHED, [(title,) for title in wanted], region=region)
        assert dead_letters(tenant) == 0
    assert differences(where.cell) == []


@pytest.mark.parametrize("mode", ["shared", "schema"])
def test_old_code_writes_on_while_a_field_rows_and_an_index_come(place, shelf, mode: str):
    where = place(mode, EU)
    with writing(where.tenants, EU) as writers:
        shelf.add(EXPAND, preamble=COUNT)
        brought(where.cell)
    nothing_is_lost(where, writers)
    for tenant in where.tenants:
        old = f"SELECT pages FROM shelf_book WHERE title = '{tenant.slug} {HOME} 1'"
        assert run(tenant, old) == [(1,)]


@pytest.mark.parametrize("policy", ["active_active", "active_passive"])
def test_a_column_goes_in_every_region_without_a_lost_row_or_a_dead_letter(
    place, shelf, policy: str
):
    """What was written with the column arrives before it is gone."""
    where = place("schema", EU, policy=policy)
    written = EU if policy == "active_active" else [HOME]
    for tenant in where.tenants:
        for region in written:
            for number in range(30):
                title = f"{tenant.slug} {region} with a note {number}"
                run(tenant, NOTED, title, region=region)
    shelf.add('migrations.RemoveField("book", "note"),')
    with writing(where.tenants, written) as writers:
        brought(where.cell, "--contract")
    for writer in writers:
        noted = f"{writer.tenant.slug} {writer.region} with a note"
        writer.acknowledged += [f"{noted} {number}" for number in range(30)]
    nothing_is_lost(where, writers)
    for tenant in where.tenants:
        assert all("note" not in columns(tenant, region) for region in EU)


NOTED = "INSERT INTO shelf_book (title, note) VALUES (%s, 'n')"


def test_a_table_goes_in_shared_tables_of_several_regions_while_tenants_write(place, shelf):
    where = place("shared", EU)
    shelf.add('migrations.CreateModel("Old", [("id", models.BigAutoField(primary_key=True))]),')
    brought(where.cell)
    for tenant in where.tenants:
        for region in EU:
            run(tenant, "INSERT INTO shelf_old DEFAULT VALUES", region=region)
    shelf.add('migrations.DeleteModel("Old"),')
    with writing(where.tenants, EU) as writers:
        brought(where.cell, "--contract")
    nothing_is_lost(where, writers)
