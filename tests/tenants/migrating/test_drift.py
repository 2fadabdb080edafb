"""What somebody did by hand: named, quarantined where nobody can know what is right, or mended."""

from __future__ import annotations

import pytest

from tenants.isolation.policies import POLICY
from tenants.rollout.models import RolloutUnit
from tests.tenants.migrating.conftest import EU, HOME, brought, migrate
from tests.tenants.migrating.looking import applied, arrives, by_hand, columns, lacking, run

PAGES = 'migrations.AddField("book", "pages", models.IntegerField(null=True)),'


@pytest.mark.parametrize("regions", [[EU[1]], EU])
def test_a_column_that_is_there_already_puts_its_tenant_in_quarantine_and_no_other(
    place, shelf, regions: list[str]
):
    where = place("schema", EU, tenants=2)
    odd = where.tenants[0]
    for region in regions:
        by_hand(odd, "ALTER TABLE shelf_book ADD COLUMN pages integer", region=region)
    name = shelf.add(PAGES)
    report = migrate(where.cell, "--contract")
    assert (report["status"], report["migrated"], report["failed"]) == (1, 1, 1)
    reason = RolloutUnit.objects.get(slug=odd.slug).error
    if regions == EU:
        assert reason.startswith('column "pages" of relation "shelf_book" already exists')
    else:
        assert reason.startswith("its tables in eu-west and eu-central differ (shelf_book)")
    (said,) = [unit["error"] for unit in report["units"] if unit["state"] == "failed"]
    assert reason in said
    for tenant in where.tenants:
        run(tenant, "INSERT INTO shelf_book (title) VALUES ('served')")
    for region in regions:
        by_hand(odd, "ALTER TABLE shelf_book DROP COLUMN pages", region=region)
    brought(where.cell, "--retry-quarantined")
    assert all(name in applied(odd, region) for region in EU)
    arrives(odd, "SELECT title, pages FROM shelf_book", [("served", None)], region=EU[1])


def test_a_column_of_ones_own_is_kept_and_captured_from_then_on(place, shelf):
    where = place("schema", EU, tenants=1)
    (odd,) = where.tenants
    for region in EU:
        by_hand(odd, "ALTER TABLE shelf_book ADD COLUMN mine text", region=region)
    report = brought(where.cell)
    assert report["units"][0]["mended"] == ["shelf_book"]
    run(odd, "INSERT INTO shelf_book (title, mine) VALUES ('a', 'b')")
    arrives(odd, "SELECT mine FROM shelf_book", [("b",)], region=EU[1])
    assert brought(where.cell)["state"] == "nothing"


def test_a_table_made_by_hand_gets_isolation(place, shelf):
    where = place("schema", tenants=1)
    (odd,) = where.tenants
    by_hand(odd, "CREATE TABLE loose (id integer PRIMARY KEY, word text)", region=HOME)
    assert lacking(odd)
    brought(where.cell)
    assert lacking(odd) == []


def test_a_replica_that_somebody_migrated_by_hand_is_not_built_upon(place, shelf):
    where = place("schema", EU, tenants=2)
    odd = where.tenants[0]
    by_hand(odd, "ALTER TABLE shelf_book ADD COLUMN pages integer", region=EU[1])
    name = shelf.add(PAGES)
    record = "INSERT INTO django_migrations (app, name, applied) VALUES ('shelf', %s, now())"
    by_hand(odd, record, name, region=EU[1])
    report = migrate(where.cell)
    assert (report["migrated"], report["failed"]) == (1, 1)
    assert "somebody migrated by hand" in RolloutUnit.objects.get(slug=odd.slug).error
    brought(where.cell, "--retry-quarantined", "--level")
    assert "pages" in columns(odd, EU[0])


@pytest.mark.parametrize(
    "taken_away",
    [
        f"DROP POLICY {POLICY} ON shelf_book",
        "ALTER TABLE shelf_book NO FORCE ROW LEVEL SECURITY",
        "DROP TRIGGER tenancy_quota_insert ON shelf_book",
        "UPDATE fabric.relation SET columns = array_remove(columns, 'title')"
        " WHERE rel = current_schema() || '.shelf_book'",
        """UPDATE fabric.relation SET rules = '{"title": "other"}'"""
        " WHERE rel = current_schema() || '.shelf_book'",
    ],
)
def test_what_one_of_many_tables_lacks_is_found_and_mended_there_alone(
    place, shelf, taken_away: str
):
    """Of tenants whose tables are alike only one is looked at closely: this one isn't alike."""
    where = place("schema", tenants=3)
    odd = where.tenants[1]
    by_hand(odd, taken_away, region=HOME)
    (unit,) = brought(where.cell)["units"]
    assert (unit["tenant"], unit["mended"]) == (odd.slug, ["shelf_book"])
    assert brought(where.cell)["state"] == "nothing"
