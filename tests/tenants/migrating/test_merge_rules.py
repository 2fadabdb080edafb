"""Declared merge rules come to every tenant in every replica, with a migration or without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from regions.replication import rules
from tenants.directory import TenantRecord
from tenants.isolation import blueprint
from tenants.isolation.base import protect
from tests.tenants.conftest import EU, MODES
from tests.tenants.migrating.conftest import brought, migrate
from tests.tenants.migrating.looking import arrives, lacking, owner, run
from tests.tenants.replicas import differences

COUNTED = 'migrations.AddField("book", "loans", models.IntegerField(default=7)),'
WIDER = 'migrations.AlterField("book", "loans", models.BigIntegerField(default=7)),'
RENAMED = 'migrations.RenameField("book", "loans", "lent"),'
TAGS = """
migrations.CreateModel("Tag", [("id", models.BigAutoField(primary_key=True))]),
migrations.AddField("book", "tags", models.ManyToManyField("shelf.Tag")),
"""
LEND = "UPDATE shelf_book SET {0} = {0} + 1 RETURNING {0}"


@pytest.fixture
def declaring() -> Iterator[Any]:
    """`declaring(loans="counter")`: what the code says of books from now on."""

    def declare(**fields: str) -> None:
        rules._declared["shelf_book"] = fields
        blueprint.fingerprint.cache_clear()

    yield declare
    rules._declared.pop("shelf_book", None)
    rules._declared.pop("shelf_book_tags", None)
    blueprint.fingerprint.cache_clear()


def known(tenant: TenantRecord, region: str, table: str = "shelf_book") -> dict[str, str]:
    with owner(tenant.cell, region) as session:
        row = session.execute(
            "SELECT rules FROM fabric.relation WHERE rel = %s", (f"{tenant.schema}.{table}",)
        ).fetchone()
    assert row
    return dict(row[0])


def lend_apart(tenant: TenantRecord, column: str, wanted: int) -> None:
    """In two regions at once: while neither has what the other wrote."""
    held = [owner(tenant.cell, region) for region in EU]
    for session in held:
        session.autocommit = False
        session.execute("LOCK TABLE fabric.watermark")  # what arrives waits
    for region in EU:
        run(tenant, LEND.format(column), region=region)
    for session in held:
        session.close()
    for region in EU:
        arrives(tenant, f"SELECT {column} FROM shelf_book", [(wanted,)], region=region)


@pytest.mark.parametrize("mode", MODES)
def test_a_field_and_its_rule_come_together(place, shelf, declaring, mode: str):
    where = place(mode, EU, tenants=1)
    (tenant,) = where.tenants
    run(tenant, "INSERT INTO shelf_book (title) VALUES ('old')")
    declaring(loans="counter")
    # The code has the rule; no table has the field yet.
    assert "shelf" not in str(migrate(where.cell, "--plan")["cells"])
    shelf.add(COUNTED)
    brought(where.cell)
    assert [known(tenant, region) for region in EU] == [{"loans": "counter"}] * 2
    lend_apart(tenant, "loans", 9)
    shelf.add(WIDER, name="wider")
    brought(where.cell, "--contract")
    lend_apart(tenant, "loans", 11)
    assert lacking(tenant) == []
    assert differences(where.cell) == []
    assert brought(where.cell)["state"] == "nothing"


def test_a_rule_without_a_migration_is_planned_and_brought(place, shelf, declaring):
    where = place("schema", EU)
    shelf.add(COUNTED)
    brought(where.cell)
    declaring(loans="counter")
    (entry,) = migrate(where.cell, "--plan")["cells"]
    assert (entry["tenants"], entry["unlike"]) == (2, ["shelf_book"])
    brought(where.cell)
    for tenant in where.tenants:
        assert [known(tenant, region) for region in EU] == [{"loans": "counter"}] * 2
    # Another rule for the same field; one tenant has it already.
    declaring(loans="max")
    ahead = where.tenants[0]
    for region in EU:
        with owner(ahead.cell, region) as session:
            protect(session, ahead.schema, ahead.id)
    brought(where.cell)
    for tenant in where.tenants:
        assert known(tenant, EU[1]) == {"loans": "max"}
        run(tenant, "INSERT INTO shelf_book (title, loans) VALUES ('x', 5)")
        assert run(tenant, "UPDATE shelf_book SET loans = 4 RETURNING loans") == [(5,)]
    assert brought(where.cell)["state"] == "nothing"


def test_a_field_that_is_renamed_keeps_its_rule(place, shelf, declaring):
    where = place("schema", EU, tenants=1)
    (tenant,) = where.tenants
    shelf.add(COUNTED)
    declaring(loans="counter")
    brought(where.cell)
    run(tenant, "INSERT INTO shelf_book (title) VALUES ('old')")
    arrives(tenant, "SELECT loans FROM shelf_book", [(7,)], region=EU[1])
    lend_apart(tenant, "loans", 9)
    shelf.add(RENAMED, name="renamed")
    declaring(lent="counter")
    brought(where.cell, "--contract")
    lend_apart(tenant, "lent", 11)
    assert brought(where.cell)["state"] == "nothing"
