"""A queryset of one tenant can't be evaluated, combined or gone on with under another."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connections
from django.db.models import Exists, OuterRef, Prefetch, Q, Subquery

from desk.models import Customer, Tag, Ticket
from tenants import seams
from tenants.context import tenant_scope
from tenants.errors import NoTenantError, WrongTenantError

# As a class attribute of a view, a form or a serializer is: made when modules are imported.
FREE = Tag.objects.order_by("name")

EVALUATIONS = {
    "iterate": list,
    "count": lambda tags: tags.count(),
    "exists": lambda tags: tags.exists(),
    "first": lambda tags: tags.first(),
    "get": lambda tags: tags.get(),
    "values": lambda tags: list(tags.values("name")),
    "slice": lambda tags: tags[0],
    "aggregate": lambda tags: tags.aggregate(n=Q(pk__gt=0)),
    "update": lambda tags: tags.update(name="x"),
    "delete": lambda tags: tags.delete(),
    "create": lambda tags: tags.create(name="x"),
    "bulk create": lambda tags: tags.bulk_create([Tag(name="x")]),
    "get or create": lambda tags: tags.get_or_create(name="x"),
    "in bulk": lambda tags: tags.in_bulk(),
    "iterator": lambda tags: list(tags.iterator()),
    "named database": lambda tags: list(tags.using("default")),
    "filter": lambda tags: list(tags.filter(name="a")),
    "pickled": lambda tags: list(pickle.loads(pickle.dumps(tags.all()))),
    "raw": lambda tags: list(tags.model.objects.all() | tags),
    "union": lambda tags: list(Tag.objects.all().union(tags)),
    "intersection of": lambda tags: list(tags.intersection(Tag.objects.all())),
    "condition": lambda tags: list(Ticket.objects.filter(tags__in=tags)),
    "subquery": lambda tags: list(Ticket.objects.annotate(t=Subquery(tags.values("name")[:1]))),
    "exists in": lambda tags: list(Ticket.objects.filter(Exists(tags.filter(pk=OuterRef("tags"))))),
    "prefetch": lambda tags: list(Ticket.objects.prefetch_related(Prefetch("tags", tags))),
}


@pytest.fixture(autouse=True)
def tags(pair):
    for tenant in pair:
        with tenant_scope(tenant):
            Ticket.objects.all().delete()
            Tag.objects.all().delete()
            Tag.objects.bulk_create([Tag(name=f"{tenant.slug}-{n}") for n in range(3)])
            Ticket.objects.create(title=tenant.slug).tags.add(Tag.objects.order_by("pk")[0])
    yield
    for tenant in pair:
        with tenant_scope(tenant):
            Ticket.objects.all().delete()
            Tag.objects.all().delete()


@pytest.mark.parametrize("evaluate", EVALUATIONS)
def test_it_raises_under_another_tenant(pair, evaluate: str):
    with tenant_scope(pair[0]):
        mine = Tag.objects.all()
    with tenant_scope(pair[1]):
        with pytest.raises(WrongTenantError):
            EVALUATIONS[evaluate](mine)
        assert set(Tag.objects.values_list("name", flat=True)) == {
            f"{pair[1].slug}-{n}" for n in range(3)
        }


@pytest.mark.parametrize("evaluate", ["iterate", "count", "update", "iterator", "named database"])
def test_it_raises_after_its_scope(pair, evaluate: str):
    with tenant_scope(pair[0]):
        mine = Tag.objects.all()
    with pytest.raises(NoTenantError):
        EVALUATIONS[evaluate](mine)


def test_accounts_of_a_tenant_are_not_looked_up_among_the_platforms(pair):
    """The same model is in the control cell too: without a scope it would be asked there."""
    with tenant_scope(pair[0]):
        accounts = User.objects.all()
    with pytest.raises(NoTenantError):
        accounts.count()


def test_fetched_results_are_not_handed_to_another_tenant(pair):
    with tenant_scope(pair[0]):
        mine = Tag.objects.all()
        assert len(mine) == 3
    with tenant_scope(pair[1]):
        for use in (len, bool, list, lambda tags: tags[0]):
            with pytest.raises(WrongTenantError):
                use(mine)


def test_a_queryset_made_in_no_scope_serves_each_tenant_its_own(pair):
    for tenant in pair:
        with tenant_scope(tenant):
            assert [tag.name for tag in FREE.all()] == [f"{tenant.slug}-{n}" for n in range(3)]
            assert FREE.filter(name__startswith=tenant.slug).count() == FREE.count() == 3


def test_its_own_results_belong_to_the_first_that_fetches_them(pair):
    free = Tag.objects.none().union(Tag.objects.all()).order_by("name")
    with tenant_scope(pair[0]):
        assert len(free) == 3
    with tenant_scope(pair[1]), pytest.raises(WrongTenantError):
        len(free)


def test_an_iterator_does_not_go_on_in_another_scope(pair):
    with tenant_scope(pair[0]):
        rows = Tag.objects.order_by("pk").iterator()
        next(rows)
    with tenant_scope(pair[1]), pytest.raises(WrongTenantError):
        next(rows)


def test_an_asynchronous_iterator_does_not_go_on_in_another_scope(pair):
    async def go() -> None:
        try:
            with tenant_scope(pair[0]):
                rows = aiter(Tag.objects.order_by("pk").aiterator())
                await anext(rows)
            with tenant_scope(pair[1]), pytest.raises(WrongTenantError):
                await anext(rows)
        finally:
            await sync_to_async(connections.close_all)()

    asyncio.run(go())


def test_an_asynchronous_iterator_asks_the_registry_off_the_event_loop(pair):
    """The cell's place may have been forgotten since the last statement."""

    async def go() -> list[Tag]:
        try:
            with tenant_scope(pair[0]):
                return [tag async for tag in Tag.objects.aiterator()]
        finally:
            await sync_to_async(connections.close_all)()

    seams._specs.clear()
    assert len(asyncio.run(go())) == 3


def test_a_raw_queryset_is_bound_as_well(pair):
    with tenant_scope(pair[0]):
        mine = Tag.objects.raw("SELECT * FROM desk_tag")
        fetched = Tag.objects.raw("SELECT * FROM desk_tag")
        assert len(fetched) == 3
    with tenant_scope(pair[1]):
        for each in (mine, fetched):
            with pytest.raises(WrongTenantError):
                list(each)


def test_related_managers_and_prefetches_work_in_their_scope(pair):
    with tenant_scope(pair[0]):
        Customer.objects.all().delete()
        ann = Customer.objects.create(name="Ann", email="a@example.org")
        Ticket.objects.update(customer=ann)
        found = Customer.objects.prefetch_related("tickets__tags").get()
        assert [tag.name for ticket in found.tickets.all() for tag in ticket.tags.all()]
        assert list(Ticket.objects.filter(customer__in=Customer.objects.filter(name="Ann")))
        assert Ticket.objects.filter(pk__in=Subquery(Ticket.objects.values("pk"))).count() == 1
        assert (Tag.objects.filter(name="a") | Tag.objects.all()).count() == 3
