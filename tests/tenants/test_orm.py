"""Django's ORM for a tenant does what it does without tenants, in each mode."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import sync_to_async
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, OperationalError, connection, connections, transaction
from django.db.models import (
    Prefetch,
    Sum,
)

from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tests.tenants.shop.models import Employee, Note, Parcel, Person, Place, Product, Rate, Supplier
from tests.tenants.shop.rows import make

Pair = tuple[TenantRecord, TenantRecord]


@pytest.fixture
def mine(pair_with_rows: Pair) -> Iterator[TenantRecord]:
    with tenant_scope(pair_with_rows[0]):
        yield pair_with_rows[0]


def test_columns_that_the_database_fills_in_come_back(mine: TenantRecord):
    product = Product.objects.create(sku="a", name="A", price=3)
    product.refresh_from_db()
    assert product.stock == 0
    product.stock = 4
    product.save()
    assert Product.objects.get(worth=12) == product
    assert product.listed_at.year >= 2020


def test_rows_are_made_or_found_and_updated_once(mine: TenantRecord):
    made, created = Product.objects.get_or_create(sku="a", defaults={"name": "A"})
    assert created
    assert Product.objects.get_or_create(sku="a", defaults={"name": "B"}) == (made, False)
    changed, created = Product.objects.update_or_create(sku="a", defaults={"name": "C"})
    assert (changed.pk, created, Product.objects.get().name) == (made.pk, False, "C")
    _, created = Product.objects.update_or_create(
        sku="b", defaults={"price": 2}, create_defaults={"name": "D", "price": 1}
    )
    assert created


def test_bulk_writes_meet_only_the_tenants_own_rows(mine: TenantRecord):
    suppliers = [Supplier(code=code, name=code) for code in ("acme", "b", "c")]
    assert all(supplier.pk for supplier in Supplier.objects.bulk_create(suppliers, batch_size=2))
    Supplier.objects.bulk_create([Supplier(code="acme", name="Again")], ignore_conflicts=True)
    assert Supplier.objects.get(code="acme").name == "acme"
    Supplier.objects.bulk_create(
        [Supplier(code="acme", name="New"), Supplier(code="d", name="d")],
        update_conflicts=True,
        unique_fields=["code"],
        update_fields=["name"],
    )
    found = Supplier.objects.in_bulk(["acme", "d"], field_name="code")
    assert (found["acme"].name, found["d"].name) == ("New", "d")
    Supplier.objects.bulk_create(
        [Supplier(id=found["d"].pk, code="e", name="e")],
        update_conflicts=True,
        unique_fields=["pk"],
        update_fields=["code"],
    )
    for supplier in (rows := list(Supplier.objects.order_by("code"))):
        supplier.name = supplier.code * 2
    assert Supplier.objects.bulk_update(rows, ["name"], batch_size=3) == 4
    assert [row.name for row in Supplier.objects.order_by("code")] == ["acmeacme", "bb", "cc", "ee"]


def test_relations_of_every_kind_work(mine: TenantRecord):
    supplier = Supplier.objects.create(code="acme", name="Mine")
    first, second, third = make(supplier=supplier)
    assert first.supplier == supplier
    assert supplier.products.count() == 3
    first.goes_with.add(second, third)
    first.goes_with.set([third])
    assert third.goes_with.get() == first
    second.replaces = first
    second.save()
    assert first.replaced_by.get() == second
    place = Place.objects.create(shelf=1, position=1, product=first)
    assert Product.objects.select_related("place").get(place__shelf=1).place == place
    first.notes.create(text="fragile")
    assert Note.objects.get().about == first
    assert Product.objects.filter(notes__text="fragile").get() == first
    held = Product.objects.prefetch_related("notes", Prefetch("goes_with", to_attr="others"))
    assert [len(product.others) for product in held.order_by("sku")] == [1, 0, 1]
    first.delete()
    assert not Note.objects.exists()
    assert not Place.objects.exists()
    second.refresh_from_db()
    assert second.replaces is None


def test_inherited_tables_are_written_and_deleted_together(mine: TenantRecord):
    ann = Employee.objects.create(name="Ann", badge="1")
    assert Person.objects.get().employee == ann
    Employee.objects.update(name="Anna")
    assert Employee.objects.filter(name="Anna", badge="1").exists()
    Parcel.objects.create(sent_by=ann)
    Person.objects.all().delete()
    assert not Employee.objects.exists()
    assert not Parcel.objects.exists()


def test_a_composite_primary_key_is_the_tenants_own(pair_with_rows: Pair):
    for tenant in pair_with_rows:
        with tenant_scope(tenant):
            Rate.objects.create(country="FR", year=2026, percent=20)
            Rate.objects.filter(pk=("FR", 2026)).update(percent=21)
            Rate.objects.bulk_create(
                [Rate(country="FR", year=2026, percent=22)],
                update_conflicts=True,
                unique_fields=["country", "year"],
                update_fields=["percent"],
            )
            assert Rate.objects.get(pk=("FR", 2026)).percent == 22


def test_locked_rows_are_waited_for_skipped_or_refused(mine: TenantRecord):
    supplier = Supplier.objects.create(code="acme", name="Mine")
    first, _ = make(2, supplier=supplier)

    def elsewhere(how: dict[str, object]) -> list[str]:
        with tenant_scope(mine):
            try:
                with transaction.atomic():
                    rows = Product.objects.select_for_update(**how).order_by("sku")
                    return [product.sku for product in rows]
            finally:
                connections.close_all()

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        locked = Product.objects.select_related("supplier").filter(supplier__isnull=False)
        locked.select_for_update(of=("self",)).get(pk=first.pk)
        assert pool.submit(elsewhere, {"skip_locked": True}).result() == ["a1"]
        with pytest.raises(OperationalError):
            pool.submit(elsewhere, {"nowait": True}).result()
        assert Product.objects.select_for_update(no_key=True).count() == 2
    with pytest.raises(transaction.TransactionManagementError):
        list(Product.objects.select_for_update())


def test_savepoints_nest_and_an_error_spoils_only_its_own(mine: TenantRecord):
    with transaction.atomic():
        make(1)
        for _ in range(2):
            with pytest.raises(DatabaseError), transaction.atomic():
                Person.objects.create(name="lost")
                connection.cursor().execute("SELECT 1/0")
        with pytest.raises(DatabaseError), transaction.atomic(durable=False):
            Product.objects.create(sku="a0", name="Other")
        point = transaction.savepoint()
        Person.objects.create(name="also lost")
        transaction.savepoint_rollback(point)
        Person.objects.create(name="kept")
    assert [person.name for person in Person.objects.all()] == ["kept"]
    assert Product.objects.count() == 1


def test_coroutines_use_the_orm(mine: TenantRecord):
    async def work() -> dict[str, object]:
        try:
            supplier = await Supplier.objects.acreate(code="acme", name="Mine")
            again, created = await Supplier.objects.aget_or_create(code="acme")
            await Product.objects.abulk_create(
                Product(sku=f"a{number}", name=str(number), supplier=supplier)
                for number in range(3)
            )
            product = await Product.objects.aget(sku="a1")
            product.stock = 9
            await product.asave()
            await product.goes_with.aadd(await Product.objects.afirst())
            ordered = Product.objects.order_by("sku")
            return {
                "created": created,
                "same": again == supplier,
                "skus": [row.sku async for row in ordered],
                "chunks": [row.sku async for row in ordered.aiterator(chunk_size=2)],
                "stock": (await Product.objects.aaggregate(all=Sum("stock")))["all"],
                "friends": await product.goes_with.acount(),
                "deleted": (await Product.objects.filter(sku="a2").adelete())[0],
                "left": await Product.objects.acount(),
            }
        finally:
            await sync_to_async(connections.close_all)()

    assert asyncio.run(work()) == {
        "created": False,
        "same": True,
        "skus": ["a0", "a1", "a2"],
        "chunks": ["a0", "a1", "a2"],
        "stock": 9,
        "friends": 1,
        "deleted": 1,
        "left": 2,
    }


def test_content_types_are_the_same_and_read_only(pair_with_rows: Pair):
    found = set()
    for tenant in pair_with_rows:
        with tenant_scope(tenant):
            ContentType.objects.clear_cache()
            found.add(ContentType.objects.get_for_model(Product).pk)
    assert len(found) == 1
