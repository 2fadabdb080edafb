"""What a tenant asks is answered from its own rows, as without tenants, in each mode."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.db import NotSupportedError, connection
from django.db.models import (
    Avg,
    Count,
    Exists,
    F,
    Max,
    OuterRef,
    Q,
    Subquery,
    Sum,
    Value,
    Window,
)
from django.db.models.expressions import RawSQL
from django.db.models.functions import Concat, Lower, Rank, TruncMonth

from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tests.tenants.shop.models import Person, Product, Supplier
from tests.tenants.shop.rows import make

Pair = tuple[TenantRecord, TenantRecord]


@pytest.fixture
def mine(pair_with_rows: Pair) -> Iterator[TenantRecord]:
    with tenant_scope(pair_with_rows[0]):
        yield pair_with_rows[0]


def test_aggregates_and_groups_count_the_tenants_rows(mine: TenantRecord):
    supplier = Supplier.objects.create(code="acme", name="Mine")
    make(supplier=supplier, stock=2)
    assert Product.objects.aggregate(Count("id"), Sum("stock"), Max("sku")) == {
        "id__count": 3,
        "stock__sum": 6,
        "sku__max": "a2",
    }
    # All columns of the supplier are selected, and grouped by.
    (grouped,) = Supplier.objects.annotate(made=Count("products"), mean=Avg("products__price"))
    assert (grouped.made, grouped.mean, grouped.name) == (3, Decimal(1), "Mine")
    per = Product.objects.values("supplier__name").annotate(n=Count("id")).filter(n__gt=1)
    assert list(per) == [{"supplier__name": "Mine", "n": 3}]
    assert Product.objects.filter(supplier=supplier).exclude(sku="a0").distinct().count() == 2
    ranked = Product.objects.annotate(rank=Window(Rank(), order_by=F("sku").desc()))
    assert [product.rank for product in ranked.order_by("sku")] == [3, 2, 1]
    newest = Product.objects.filter(supplier=OuterRef("code")).order_by("-sku").values("sku")[:1]
    with_newest = Supplier.objects.annotate(newest=Subquery(newest)).filter(
        Exists(Product.objects.filter(supplier=OuterRef("code")))
    )
    assert with_newest.get().newest == "a2"
    union = Product.objects.filter(sku="a0").union(Product.objects.filter(sku="a1"))
    assert union.count() == 2


def test_queries_by_date_json_array_and_expression(mine: TenantRecord):
    for month in (1, 1, 3):
        Product.objects.create(
            sku=f"m{Product.objects.count()}",
            name=f"Name {Product.objects.count()}",
            listed_at=datetime(2026, month, 2, tzinfo=UTC),
            facts={"weight": month},
            labels=["x", str(month)],
        )
    assert list(Product.objects.dates("listed_at", "month")) == [date(2026, 1, 1), date(2026, 3, 1)]
    monthly = Product.objects.annotate(month=TruncMonth("listed_at")).values("month")
    assert monthly.annotate(n=Count("id")).order_by("-n").first()["n"] == 2
    assert Product.objects.filter(facts__weight=3).count() == 1
    assert Product.objects.filter(labels__contains=["3"]).count() == 1
    shown = Product.objects.annotate(shown=Concat(Lower("name"), Value("!"))).order_by("sku")
    assert shown[0].shown == "name 0!"
    assert Product.objects.filter(Q(sku="m0") | ~Q(facts__weight=1)).count() == 2


def test_raw_sql_sees_the_tenants_rows(mine: TenantRecord):
    make()
    assert [row.sku for row in Product.objects.raw("SELECT * FROM shop_product ORDER BY sku")] == [
        "a0",
        "a1",
        "a2",
    ]
    raw = RawSQL("SELECT count(*) FROM shop_product WHERE sku = %s", ["a1"])
    assert Product.objects.annotate(n=raw).first().n == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), '%%' FROM shop_product WHERE sku = %s", ["a1"])
        assert cursor.fetchone() == (1, "%")
        cursor.execute("UPDATE shop_product SET stock = 7")
        assert cursor.rowcount == 3
    assert Product.objects.filter(stock=7).count() == 3


def test_rows_are_read_in_chunks(mine: TenantRecord):
    Person.objects.bulk_create(Person(name=str(number)) for number in range(25))
    assert len(list(Person.objects.iterator(chunk_size=10))) == 25
    prefetched = Product.objects.prefetch_related("notes").iterator(chunk_size=2)
    make()
    assert len(list(prefetched)) == 3


def test_a_plan_can_be_explained_to_whoever_has_the_database_alone(mine: TenantRecord):
    """Elsewhere the planner's estimates count what others have."""
    if mine.mode != "dedicated":
        with pytest.raises(NotSupportedError):
            Product.objects.filter(sku="a0").explain(analyze=True)
        return
    plan = Product.objects.filter(sku="a0").explain(analyze=True)
    assert "shop_product" in plan
    assert "Execution Time" in plan


def test_statements_can_be_watched(mine: TenantRecord):
    seen: list[str] = []

    def watch(execute, sql, params, many, context):
        seen.append(sql)
        assert context["connection"].alias == connection.alias
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch):
        Person.objects.count()
    assert len(seen) == 1
    assert "meridian.context" not in seen[0]
