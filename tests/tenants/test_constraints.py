"""Constraints hold within a tenant, know nothing of others, and read as the models say."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from tenants.backend.introspection import HIDDEN_COLUMNS
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tests.tenants.shop import rows
from tests.tenants.shop.models import Booking, Employee, Place, Product, Supplier

Pair = tuple[TenantRecord, TenantRecord]
MORNING = DateTimeTZRange(datetime(2026, 1, 1, 8, tzinfo=UTC), datetime(2026, 1, 1, 12, tzinfo=UTC))
NOON = DateTimeTZRange(datetime(2026, 1, 1, 11, tzinfo=UTC), datetime(2026, 1, 1, 14, tzinfo=UTC))


@pytest.fixture
def cleared(pair: Pair) -> Pair:
    for tenant in pair:
        with tenant_scope(tenant):
            rows.clear()
    return pair


@pytest.fixture
def mine(cleared: Pair) -> Iterator[TenantRecord]:
    """The other tenant has what I am about to write."""
    mine, theirs = cleared
    with tenant_scope(theirs):
        fill()
    with tenant_scope(mine):
        yield mine


def fill() -> Product:
    Supplier.objects.create(code="acme", name="Acme")
    product = Product.objects.create(sku="a", name="Lamp", slot=1, supplier_id="acme")
    Place.objects.create(shelf=1, position=1, product=product)
    Booking.objects.create(room=1, during=MORNING)
    Employee.objects.create(name="Ann", badge="1")
    return product


def violated(name: str):
    return pytest.raises(IntegrityError, match=name)


def test_what_another_tenant_has_is_free_and_what_one_has_is_taken(mine: TenantRecord):
    fill()
    for name, write in {
        "shop_supplier_code": lambda: Supplier.objects.create(code="acme", name="B"),
        "shop_product_sku": lambda: Product.objects.create(sku="a", name="B"),
        "shop_product_name": lambda: Product.objects.create(
            sku="b", name="LAMP", supplier_id="acme"
        ),
        "shop_covering": lambda: Product.objects.create(sku="a", name="Lamp", retired=True, slot=9),
        "shop_slot": lambda: Product.objects.create(sku="c", name="C", slot=1),
        "shop_place_product_id": lambda: Place.objects.create(
            shelf=2, position=2, product=Product.objects.get()
        ),
        "shop_booking_overlap": lambda: Booking.objects.create(room=1, during=NOON),
        "shop_employee_badge": lambda: Employee.objects.create(name="B", badge="1"),
        "shop_product_price": lambda: Product.objects.create(sku="d", name="D", price=-1),
    }.items():
        with violated(name), transaction.atomic():
            write()


def test_conditions_and_nulls_are_minded(mine: TenantRecord):
    Product.objects.create(sku="a", name="1", retired=True, slot=2)
    Product.objects.create(sku="a", name="2", retired=True, slot=3)
    Product.objects.create(sku="a", name="3")
    Product.objects.create(sku="b", name="4")
    with violated("shop_sku_slot"), transaction.atomic():
        Product.objects.create(sku="a", name="5", retired=True)
    Booking.objects.create(room=1, during=MORNING)
    Booking.objects.create(room=1, during=NOON, cancelled=True)
    Booking.objects.create(room=2, during=NOON)


def test_a_deferrable_constraint_is_checked_at_the_end(mine: TenantRecord):
    for position in (1, 2):
        Place.objects.create(shelf=1, position=position)
    with transaction.atomic():
        Place.objects.filter(position=1).update(position=3)
        Place.objects.filter(position=2).update(position=1)
        Place.objects.filter(position=3).update(position=2)
    with violated("shop_place_position"), transaction.atomic():
        Place.objects.update(position=1)
        assert Place.objects.filter(position=1).count() == 2


def test_references_are_checked_at_commit_or_when_asked(mine: TenantRecord):
    with violated("shop_product_supplier_id"), transaction.atomic():
        Product.objects.create(sku="a", name="A", supplier_id="nobody")
    with transaction.atomic():
        Product.objects.create(sku="b", name="B", supplier_id="later")
        Supplier.objects.create(code="later", name="Later")
        connection.check_constraints()
    with transaction.atomic(), pytest.raises(IntegrityError):
        Product.objects.create(sku="c", name="C", supplier_id="never")
        connection.check_constraints()
        transaction.set_rollback(True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Supplier(code="acme", name="B"), "Supplier with this Code already exists."),
        (lambda: Product(sku="a", name="B"), "Constraint “shop_product_sku” is violated."),
        (
            lambda: Product(sku="b", name="LAMP", supplier_id="acme"),
            "Constraint “shop_product_name” is violated.",
        ),
        (lambda: Product(sku="e", name="E", price=-1), "“shop_product_price” is violated."),
        (lambda: Booking(room=1, during=NOON), "The room is taken."),
    ],
)
def test_validation_asks_the_tenants_rows(mine: TenantRecord, make, message: str):
    free = make()
    if not isinstance(free, Product) or free.price >= 0:
        free.validate_unique()
        free.validate_constraints()
    fill()
    with pytest.raises(ValidationError) as refused:
        make().full_clean(exclude=["labels", "facts"])
    assert any(message in text for text in refused.value.messages)


def test_tables_read_as_the_models_describe_them(mine: TenantRecord):
    with connection.cursor() as cursor:
        look = connection.introspection
        tables = look.table_names(cursor)
        assert {"shop_product", "shop_rate", "auth_user"} <= set(tables)
        assert not {"change", "secret"} & set(tables)
        columns = {column.name for column in look.get_table_description(cursor, "shop_product")}
        assert columns == {field.column for field in Product._meta.local_fields}
        assert look.get_relations(cursor, "shop_product") == {
            "supplier_id": ("code", "shop_supplier"),
            "replaces_id": ("id", "shop_product"),
        }
        assert look.get_relations(cursor, "shop_employee") == {
            "person_ptr_id": ("id", "shop_person")
        }
        assert look.get_primary_key_columns(cursor, "shop_rate") == ["country", "year"]
        assert look.get_primary_key_column(cursor, "shop_employee") == "person_ptr_id"
        found = look.get_constraints(cursor, "shop_product")
        assert not HIDDEN_COLUMNS & {name for each in found.values() for name in each["columns"]}
        assert found["shop_product_sku"]["columns"] == ["sku"]
        assert found["shop_covering"]["columns"][:2] == ["sku", "name"]
        assert found["shop_price"]["orders"] == ["DESC", "ASC"]
        assert found["shop_facts"]["type"] == "gin"
        (supplier,) = (
            each
            for each in found.values()
            if each["foreign_key"] and "supplier_id" in each["columns"]
        )
        assert supplier["foreign_key"] == ("shop_supplier", "code")


def test_models_can_be_made_from_the_tables(mine: TenantRecord):
    out = io.StringIO()
    call_command("inspectdb", "shop_product", "shop_place", "shop_rate", stdout=out)
    text = out.getvalue()
    assert "supplier = models.ForeignKey('ShopSupplier', models.DO_NOTHING, to_field='code'" in text
    assert "product = models.OneToOneField(ShopProduct" in text
    assert "models.CompositePrimaryKey('country', 'year')" in text
    assert not any(column in text for column in ("tenant_id", "_stamp", "_born"))
