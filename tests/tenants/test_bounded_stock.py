"""A stock that is sold in two regions at once, in each mode, by code that knows nothing of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import IntegrityError, connections
from django.db.models import F

from tenants import rights
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tests.tenants.conftest import EU, HOME, MODES
from tests.tenants.moves import fresh
from tests.tenants.shop.models import Product
from tests.tenants.test_conflicts import AWAY, at, eventually


@pytest.fixture(params=MODES)
def tenant(request: pytest.FixtureRequest, places: dict[str, str]) -> Iterator[TenantRecord]:
    record = fresh(places, request.param)
    with tenant_scope(record):
        yield record
    connections.close_all()


def product(tenant: TenantRecord, region: str, pk: int) -> Product | None:
    return Product.objects.using(at(tenant, region)).filter(pk=pk).first()


def sell(tenant: TenantRecord, region: str, pk: int) -> bool:
    try:
        Product.objects.using(at(tenant, region)).filter(pk=pk).update(stock=F("stock") - 1)
    except IntegrityError as error:
        return not rights.is_refusal(error)
    return True


def test_the_last_one_is_sold_once_and_where_it_is_asked_for(tenant: TenantRecord):
    pk = Product.objects.using(at(tenant, HOME)).create(sku="one", name="one", stock=1).pk
    away = eventually(lambda: product(tenant, AWAY, pk))
    assert not sell(tenant, AWAY, pk)
    assert rights.held(away, "stock") == rights.Rights(0, 1)
    rights.ask(away, "stock", 1)
    eventually(lambda: rights.held(away, "stock").here == 1)
    assert [sell(tenant, region, pk) for region in (HOME, AWAY, AWAY)] == [False, True, False]
    eventually(lambda: {getattr(product(tenant, r, pk), "stock", None) for r in EU} == {0})


def test_a_field_without_a_bound_has_no_rights():
    with pytest.raises(ValueError, match=r"shop\.Product\.slot does not have the rule"):
        rights.held(Product(pk=1), "slot")
