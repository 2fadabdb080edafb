"""What two regions wrote at once, as an application sees it and settles it, in each mode."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connections, transaction

from tenants import kept
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tests.tenants.conftest import EU, HOME, MODES
from tests.tenants.moves import fresh
from tests.tenants.shop.models import Note, Product
from tests.tenants.test_conflicts import AWAY, at, eventually


@pytest.fixture(params=MODES)
def tenant(request: pytest.FixtureRequest, places: dict[str, str]) -> Iterator[TenantRecord]:
    record = fresh(places, request.param)
    with tenant_scope(record):
        yield record
    connections.close_all()


def seen(tenant: TenantRecord, region: str, pk: int) -> tuple[object, ...] | None:
    found = Product.objects.using(at(tenant, region)).filter(pk=pk).first()
    if found is None:
        return None
    return found.facts, *((one.value, one.region) for one in kept.versions(found, "facts"))


def test_both_values_are_there_until_somebody_settles_them_and_sets_join(tenant: TenantRecord):
    home, away = at(tenant, HOME), at(tenant, AWAY)
    product = Product.objects.using(home).create(sku="k", name="k", labels=["old"])
    eventually(lambda: seen(tenant, AWAY, product.pk))
    with transaction.atomic(using=home):
        mine = Product.objects.using(home).filter(pk=product.pk)
        mine.update(facts={"a": 1}, labels=["old", "home"])
        theirs = Product.objects.using(away).filter(pk=product.pk)
        theirs.update(facts={"b": None}, labels=["away"])
    both = ({"b": None}, ({"b": None}, AWAY), ({"a": 1}, HOME))
    eventually(lambda: {str(seen(tenant, region, product.pk)) for region in EU} == {str(both)})
    eventually(lambda: set(mine.get().labels) == set(theirs.get().labels) == {"home", "away"})
    kept.settle(mine.get(), "facts", {"b": None})
    settled = ({"b": None}, ({"b": None}, HOME))
    eventually(lambda: {str(seen(tenant, region, product.pk)) for region in EU} == {str(settled)})


def test_a_field_with_a_resolver_has_what_the_app_s_function_makes_of_both(tenant: TenantRecord):
    home, away = at(tenant, HOME), at(tenant, AWAY)
    about = ContentType.objects.db_manager(home).get_for_model(Product)
    note = Note.objects.using(home).create(content_type=about, object_id=1, text="one")

    def text(region: str) -> str | None:
        return Note.objects.using(at(tenant, region)).values_list("text", flat=True).first()

    eventually(lambda: text(AWAY))
    with transaction.atomic(using=home):
        Note.objects.using(home).filter(pk=note.pk).update(text="one\nhome")
        Note.objects.using(away).filter(pk=note.pk).update(text="away\none")
    eventually(lambda: {text(region) for region in EU} == {"away\nhome\none"})
    # Whoever has seen it writes what he likes.
    Note.objects.using(away).filter(pk=note.pk).update(text="two")
    eventually(lambda: {text(region) for region in EU} == {"two"})


def test_a_field_without_the_rule_has_no_versions():
    with pytest.raises(ValueError, match=r"shop\.Product\.name does not have the rule"):
        kept.versions(Product(pk=1), "name")
