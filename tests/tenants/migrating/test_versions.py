"""From one version of an app to the next, in every mode and every replica."""

from __future__ import annotations

import pytest

from regions.current import deployment
from tests.tenants.conftest import MODES, onboard
from tests.tenants.migrating.conftest import EU, HOME, brought, record_for
from tests.tenants.migrating.looking import applied, arrives, columns, lacking, run
from tests.tenants.replicas import differences

ADD_FIELD = 'migrations.AddField("book", "pages", models.IntegerField(default=7)),'
NEW_TABLE = """
migrations.CreateModel("Shelf", [
    ("id", models.BigAutoField(primary_key=True)),
    ("name", models.CharField(max_length=50)),
]),
"""
REFERENCE = """
migrations.AddField(
    "shelf", "favourite", models.ForeignKey("shelf.Book", models.CASCADE, null=True)
),
"""
JOINED = """
SELECT s.name, b.title, b.pages FROM shelf_shelf s JOIN shelf_book b ON b.id = s.favourite_id
"""
INDEX = 'migrations.AddIndex("book", models.Index(fields=["title"], name="shelf_book_title")),'


@pytest.mark.parametrize("mode", MODES)
def test_field_table_and_index_reach_every_tenant_in_every_replica(place, shelf, mode: str):
    where = place(mode, EU, tenants=1 if mode == "dedicated" else 2)
    for tenant in where.tenants:
        run(tenant, "INSERT INTO shelf_book (title) VALUES ('old')")
    name = shelf.add(ADD_FIELD + NEW_TABLE + INDEX + REFERENCE)
    report = brought(where.cell)
    assert report["migrated"] == (1 if mode == "shared" else len(where.slugs))
    for tenant in where.tenants:
        for region in EU:
            assert name in applied(tenant, region)
            assert "pages" in columns(tenant, region)
        run(tenant, "INSERT INTO shelf_shelf (name) VALUES ('top')")
        run(tenant, "UPDATE shelf_shelf SET favourite_id = (SELECT id FROM shelf_book)")
        arrives(tenant, JOINED, [("top", "old", 7)], region=EU[1])
    assert lacking(where.tenants[0]) == []
    assert differences(where.cell) == []
    assert brought(where.cell)["state"] == "nothing"


def test_code_that_does_not_know_a_new_field_goes_on_inserting(place, shelf):
    tenant = place().tenants[0]
    shelf.add(ADD_FIELD)
    brought(tenant.cell)
    run(tenant, "INSERT INTO shelf_book (title) VALUES ('by old code')")
    assert run(tenant, "SELECT pages FROM shelf_book") == [(7,)]


def test_tables_of_one_region_draw_other_numbers_than_those_of_another(place, shelf):
    tenant = place("schema", EU, tenants=1).tenants[0]
    shelf.add(NEW_TABLE)
    brought(tenant.cell)
    numbers = {}
    for region in EU:
        insert = "INSERT INTO shelf_shelf (name) VALUES ('x') RETURNING id"
        numbers[region] = run(tenant, insert, region=region)[0][0] % 32
    assert numbers == {region: deployment().region(region).node for region in EU}


def test_content_types_and_permissions_of_a_new_model_are_made_in_each_replica(place, shelf):
    where = place("schema", EU)
    shelf.add(NEW_TABLE)
    brought(where.cell)
    ids = set()
    for tenant in where.tenants:
        for region in EU:
            found = run(
                tenant,
                "SELECT c.id, count(*) FROM django_content_type c JOIN auth_permission p"
                " ON p.content_type_id = c.id WHERE app_label = 'shelf' AND model = 'shelf'"
                " GROUP BY 1",
                region=region,
            )
            ids.add(tuple(found))
    assert len(ids) == 1
    assert next(iter(ids))[0][1] == 4


def test_a_tenant_that_is_onboarded_afterwards_has_the_new_version_and_needs_nothing(place, shelf):
    where = place()
    name = shelf.add(ADD_FIELD)
    brought(where.cell)
    late = record_for(onboard(f"{where.cell}-late", "schema", cell=where.cell))
    assert name in applied(late, HOME)
    assert brought(where.cell)["state"] == "nothing"
