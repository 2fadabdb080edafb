"""Structure changes under cells that have tenants with rows, in each mode, there and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, connections, migrations, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from regions.deployment import OWNER_ROLE, Deployment
from regions.replication import capture
from tenants.context import tenant_scope
from tenants.databases import register_cell
from tenants.directory import TenantRecord
from tenants.isolation.base import missing, secure
from tenants.isolation.owner import owner
from tenants.lifecycle import create_cell
from tenants.seams import cell_spec, record_for
from tests.tenants.changes import ADDED, CHANGED
from tests.tenants.conftest import HOME, MODES, onboard, silent
from tests.tenants.shop.models import Employee, Note, Parcel, Place, Product, Supplier


class Cell:
    """One cell's structure, moved from state to state."""

    def __init__(self, mode: str) -> None:
        name = f"late-{mode}"
        create_cell(
            name, mode=mode, regions=[HOME], policy="active_active", actor="test", progress=silent
        )
        slugs = [f"late-{mode}"] if mode == "dedicated" else [f"late-{mode}", f"later-{mode}"]
        self.spec = cell_spec(name)
        self.tenants = [record_for(onboard(slug, mode, cell=name)) for slug in slugs]
        self.shared = mode == "shared"
        self.state: ProjectState = MigrationLoader(None).project_state()

    def schemas(self) -> list[tuple[str, TenantRecord | None]]:
        if self.shared:
            return [("public", None)]
        return [(tenant.schema, tenant) for tenant in self.tenants]

    def run(self, operations: list[Any], *, back: bool = False) -> None:
        """As the owner, then isolated again, as after any migration."""
        migration = migrations.Migration("later", "shop")
        migration.operations = operations
        before = self.state
        after = before if back else migration.mutate_state(before, preserve=True)
        for schema, tenant in self.schemas():
            alias = register_cell(self.spec, HOME, OWNER_ROLE)
            with tenant_scope(tenant):
                with connections[alias].schema_editor() as editor:
                    if back:
                        migration.unapply(before.clone(), editor)
                    else:
                        migration.apply(before.clone(), editor)
                connections[alias].close()
            with owner(self.spec, HOME) as connection:
                secure(connection, schema, tenant.id if tenant else None)
                assert missing(connection, schema, tenant.id if tenant else None) == []
                capture.attach(
                    connection,
                    schema,
                    tenant=tenant.id if tenant else None,
                    local_tables=settings.MERIDIAN_LOCAL_TABLES,
                )
        self.state = after

    def tables_without_a_kept_key(self) -> list[str]:
        with owner(self.spec, HOME) as connection:
            rows = connection.execute(
                "SELECT rel FROM fabric.relation WHERE split_part(rel, '.', 1) = ANY(%s)"
                " AND to_regclass(rel) IS NOT NULL AND NOT EXISTS (SELECT FROM pg_trigger"
                " WHERE tgrelid = to_regclass(rel) AND tgname = 'fabric_keep_key')",
                ([schema for schema, _ in self.schemas()],),
            )
            return [row[0] for row in rows]

    def definitions(self) -> Counter[str]:
        """What constraints and indexes say: Django gives some other names on the way back."""
        with owner(self.spec, HOME) as connection:
            return Counter(
                text
                for schema, _ in self.schemas()
                for (text,) in connection.execute(
                    "SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid)"
                    "  FROM pg_constraint WHERE connamespace = %(s)s::text::regnamespace"
                    " UNION ALL SELECT replace(indexdef, indexname, '')"
                    "  FROM pg_indexes WHERE schemaname = %(s)s::text",
                    {"s": schema},
                )
            )


@pytest.fixture(scope="module", params=MODES)
def cell(request: pytest.FixtureRequest, control: Deployment) -> Iterator[Cell]:
    made = Cell(request.param)
    for tenant in made.tenants:
        with tenant_scope(tenant):
            Supplier.objects.create(code="acme", name="Acme")
            product = Product.objects.create(sku="a", name="Lamp", slot=1, supplier_id="acme")
            Place.objects.create(shelf=1, position=1, product=product)
            Note.objects.create(about=product, text="fragile")
            ann = Employee.objects.create(name="Ann", badge="1")
            Parcel.objects.create(sent_by=ann)
    return made


def test_structure_changes_under_rows_and_back(cell: Cell):
    as_made = cell.definitions()
    cell.run(ADDED)
    for tenant in cell.tenants:
        with tenant_scope(tenant):
            fill_what_was_added(cell)
    if cell.shared:
        refer_across_tenants(cell)
    when_added = cell.definitions()
    added = cell.state
    cell.run(CHANGED)
    for tenant in cell.tenants:
        with tenant_scope(tenant):
            use_what_was_changed(cell)
    assert cell.tables_without_a_kept_key() == []
    # Backwards: every constraint is found by what its columns say.
    roll_back(cell, CHANGED, added)
    assert differences(cell.definitions(), when_added) == []
    start = MigrationLoader(None).project_state()
    roll_back(cell, ADDED, start)
    assert differences(cell.definitions(), as_made) == []
    for tenant in cell.tenants:
        with tenant_scope(tenant):
            assert Product.objects.get().supplier.name == "Acme"
            assert Employee.objects.get().name == "Ann"


def differences(now: Counter[str], then: Counter[str]) -> list[str]:
    return [f"+ {text}" for text in now - then] + [f"- {text}" for text in then - now]


def roll_back(cell: Cell, operations: list[Any], to: ProjectState) -> None:
    cell.state = to
    cell.run(operations, back=True)
    cell.state = to


def fill_what_was_added(cell: Cell) -> None:
    model = cell.state.apps.get_model
    supplier = model("shop", "Supplier").objects.get()
    assert (supplier.rating, supplier.city, supplier.note) == (3, None, "none")
    assert supplier.shown == "ACME"
    branch = model("shop", "Branch").objects.create(code="x", supplier=supplier)
    product = model("shop", "Product").objects.get()
    branch.products.add(product)
    product.branch, product.maker = branch, supplier
    product.save()
    supplier.partners.add(supplier)
    people = model("shop", "Person").objects
    ann = people.get()
    assert ann.serial == "-"
    ann.nick = "an"
    ann.save()
    people.create(name="Bob", boss=ann, serial="b")
    for fields in ({"nick": "an"}, {"boss": ann}, {"serial": "-"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            people.create(**{"name": "C", "serial": "c", **fields})


def refer_across_tenants(cell: Cell) -> None:
    mine, theirs = cell.tenants
    model = cell.state.apps.get_model
    with tenant_scope(theirs):
        branch = model("shop", "Branch").objects.get().pk
        supplier = model("shop", "Supplier").objects.get().pk
        boss = model("shop", "Person").objects.get(name="Ann").pk
    with tenant_scope(mine):
        for name, change in (
            ("Product", {"branch_id": branch}),
            ("Product", {"maker_id": supplier}),
            ("Person", {"boss_id": boss}),
            ("Branch", {"parent_id": branch}),
        ):
            with pytest.raises(IntegrityError):
                model("shop", name).objects.update(**change)


def use_what_was_changed(cell: Cell) -> None:
    model = cell.state.apps.get_model
    vendor = model("shop", "Vendor").objects.get()
    assert (vendor.city, vendor.name) == ("Paris", "Acme")
    product = model("shop", "Product").objects.get(article="a")
    assert product.maker == vendor
    assert product.branch == model("shop", "Branch").objects.get()
    products, people = model("shop", "Product").objects, model("shop", "Person").objects
    model("shop", "Place").objects.create(shelf=1, position=2, product=product)
    model("shop", "Employee").objects.create(name="Cy", badge="1", serial="c")
    for write in (
        lambda: people.create(name="Ann", serial="z"),
        lambda: products.create(article="A", name="B"),
        lambda: products.create(article="b", name="B", price=2000),
        lambda: products.bulk_create(
            [products.model(article="c", name=name, retired=True) for name in "xy"]
        ),
        lambda: model("shop", "Place").objects.create(shelf=2, position=2, product=product),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            write()
    bookings = model("shop", "Booking").objects
    with pytest.raises(IntegrityError, match="shop_no_overlap"), transaction.atomic():
        for _ in range(2):
            bookings.create(room=1, during=("2026-01-01", "2026-01-02"))
    # Leave it as a migration backwards can take it.
    model("shop", "Place").objects.filter(position=2).delete()
    model("shop", "Employee").objects.filter(name="Cy").delete()
