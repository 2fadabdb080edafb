"""An object of one tenant can't be used under another."""

from __future__ import annotations

import copy
import pickle

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.cache.backends.locmem import LocMemCache
from django.db import models
from django.db.models import prefetch_related_objects
from django.test.utils import isolate_apps
from django.utils.functional import SimpleLazyObject

from desk.models import Comment, Customer, Tag, Ticket
from tenants.context import tenant_scope
from tenants.errors import NoTenantError, WrongTenantError

USES = {
    "save": lambda ticket: ticket.save(),
    "save, naming a database": lambda ticket: ticket.save(using="default"),
    "save of some fields": lambda ticket: ticket.save(update_fields=["title"]),
    "delete": lambda ticket: ticket.delete(),
    "delete, naming a database": lambda ticket: ticket.delete(using="default"),
    "reread": lambda ticket: ticket.refresh_from_db(),
    "follow a reference": lambda ticket: ticket.customer,
    "follow a reverse reference": lambda ticket: list(ticket.comments.all()),
    "read tags": lambda ticket: ticket.tags.count(),
    "add a tag": lambda ticket: ticket.tags.add(Tag.objects.create(name="x")),
    "clear the tags": lambda ticket: ticket.tags.clear(),
    "create through it": lambda ticket: ticket.comments.create(body="x"),
    "refer to it": lambda ticket: Comment(ticket=ticket, body="x"),
    "refer to it lazily": lambda ticket: Comment(ticket=SimpleLazyObject(lambda: ticket), body="x"),
    "look for it": lambda ticket: list(Comment.objects.filter(ticket__in=[ticket])),
    "prefetch for it": lambda ticket: prefetch_related_objects([ticket], "tags"),
    "save a copy": lambda ticket: copy.deepcopy(ticket).save(),
    "save what was pickled": lambda ticket: pickle.loads(pickle.dumps(ticket)).save(),
}


@pytest.fixture
def ticket(pair) -> Ticket:
    """The first tenant's, fresh from its database."""
    with tenant_scope(pair[0]):
        Ticket.objects.all().delete()
        Customer.objects.all().delete()
        made = Ticket.objects.create(
            title="Mine", customer=Customer.objects.create(name="Ann", email="ann@example.org")
        )
        return Ticket.objects.get(pk=made.pk)


@pytest.mark.parametrize("use", [name for name in USES if name != "look for it"])
def test_it_raises_under_another_tenant_and_changes_nothing(pair, ticket: Ticket, use: str):
    with tenant_scope(pair[1]):
        before = Ticket.objects.count(), Comment.objects.count()
        with pytest.raises(WrongTenantError, match="read it again in this scope"):
            USES[use](ticket)
        assert (Ticket.objects.count(), Comment.objects.count()) == before
        Tag.objects.filter(name="x").delete()
    with tenant_scope(pair[0]):
        assert Ticket.objects.get().title == "Mine"


@pytest.mark.parametrize("use", ["save", "delete", "reread", "save, naming a database"])
def test_it_raises_outside_of_every_scope(ticket: Ticket, use: str):
    with pytest.raises(NoTenantError):
        USES[use](ticket)


def test_under_its_own_tenant_everything_is_allowed(pair, ticket: Ticket):
    with tenant_scope(pair[0]):
        ticket.refresh_from_db()
        assert ticket.customer.name == "Ann"
        pickle.loads(pickle.dumps(ticket)).save()
        copy.deepcopy(ticket).save()
        Comment(ticket=ticket, body="x").save()
        assert ticket.comments.count() == 1
        ticket.delete()


def test_an_object_from_a_cache_is_found_by_its_tenant_and_refused_to_another(pair, ticket: Ticket):
    """Keys know the tenant; a cache with a key function of its own may not."""
    ours = LocMemCache("binding", {"KEY_FUNCTION": "gateway.cache.tenant_key"})
    careless = LocMemCache("binding", {})
    with tenant_scope(pair[0]):
        for cache in (ours, careless):
            cache.set("ticket", ticket)
        assert ours.get("ticket") == ticket
    with tenant_scope(pair[1]):
        assert ours.get("ticket") is None
        with pytest.raises(WrongTenantError):
            careless.get("ticket").save()


def test_an_object_made_in_no_scope_belongs_to_whoever_saves_it(pair):
    free = Tag(name="free")
    with tenant_scope(pair[0]):
        Tag.objects.filter(name="free").delete()
        free.save()
    with tenant_scope(pair[1]), pytest.raises(WrongTenantError):
        free.save()
    with tenant_scope(pair[0]):
        free.delete()


def test_objects_of_two_tenants_are_not_related_even_unsaved(pair):
    with tenant_scope(pair[0]):
        customer = Customer(name="Ann")
    with tenant_scope(pair[1]):
        ticket = Ticket(title="x")
        with pytest.raises(WrongTenantError):
            ticket.customer = customer


def test_an_account_of_the_platform_is_no_account_of_a_tenant(pair, control):
    operator = User.objects.using("control").create(username="op-binding")
    try:
        for tenant in pair:
            with tenant_scope(tenant), pytest.raises(WrongTenantError, match="the platform"):
                operator.save()
        operator.save()
    finally:
        operator.delete()


def test_content_types_and_permissions_are_the_same_under_every_tenant(shared_pair):
    pair = shared_pair
    with tenant_scope(pair[0]):
        kind = ContentType.objects.get_for_model(Ticket)
        permission = Permission.objects.get(codename="add_ticket")
    with tenant_scope(pair[1]):
        assert permission.content_type == kind
        assert ContentType.objects.get_for_model(Ticket) == kind
        Permission(content_type=kind, codename="x", name="x")


def test_a_lazy_object_is_used_like_the_one_it_stands_for(pair, ticket: Ticket):
    """`request.user` is one."""
    with tenant_scope(pair[0]):
        lazy = SimpleLazyObject(lambda: ticket)
        assert Comment.objects.create(ticket=lazy, body="x").ticket_id == ticket.pk
        assert list(Comment.objects.filter(ticket=lazy))


@isolate_apps("desk")
def test_an_object_that_has_no_key_yet_can_be_made_with_its_relations(pair, ticket):
    """A child of another model gets its key after its parent's fields."""

    class Urgent(Ticket):
        own = models.OneToOneField(
            Ticket, models.CASCADE, parent_link=True, primary_key=True, related_name="+"
        )

        class Meta:
            app_label = "desk"

    with tenant_scope(pair[0]):
        assert Urgent(title="Now", customer=ticket.customer).customer == ticket.customer
    with tenant_scope(pair[1]), pytest.raises(WrongTenantError):
        Urgent(title="Now", customer=ticket.__dict__["_state"].fields_cache["customer"])
