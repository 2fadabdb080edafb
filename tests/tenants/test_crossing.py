"""Sessions and the admin's own tables: what is one tenant's is nobody else's, in every mode."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.cache import caches
from django.db import DatabaseError, connections, transaction

from desk.models import Tag
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from testkit.client import TenantClient
from testkit.control import forget_maps, publish_maps
from tests.tenants.conftest import HOME

ENGINES = (
    "django.contrib.sessions.backends.db",
    "django.contrib.sessions.backends.cached_db",
    "django.contrib.sessions.backends.cache",
    "django.contrib.sessions.backends.signed_cookies",
    "gateway.sessions",
)
PASSWORD = "the same for both"


@pytest.fixture
def sites(pair, deployment, valkeys, settings) -> Iterator[tuple[TenantClient, TenantClient]]:
    """Clients of two tenants that have the same superuser: name, password and number."""
    settings.MERIDIAN_REGION = HOME
    publish_maps(deployment)
    number = int(uuid4()) % 2**31
    for tenant in pair:
        with tenant_scope(tenant):
            User.objects.create_superuser("twin", password=PASSWORD, pk=number)
    yield TenantClient(pair[0]), TenantClient(pair[1])
    for tenant in pair:
        with tenant_scope(tenant):
            LogEntry.objects.all().delete()
            Tag.objects.all().delete()
            User.objects.filter(pk=number).delete()
    forget_maps(deployment)
    connections.close_all()
    caches.close_all()


def logged_in(site: TenantClient) -> TenantClient:
    assert site.login(username="twin", password=PASSWORD)
    return site


def status(site: TenantClient) -> int:
    return site.get("/admin/").status_code


@pytest.mark.parametrize("engine", ENGINES)
def test_a_session_opens_nothing_on_another_tenants_host(sites, settings, engine):
    settings.SESSION_ENGINE = engine
    mine, theirs = sites
    assert status(logged_in(mine)) == 200
    theirs.cookies = mine.cookies.copy()
    assert status(theirs) == 302
    # It has neither been taken over nor ended by that.
    assert status(mine) == 200


@pytest.mark.parametrize("engine", ENGINES)
def test_a_session_is_empty_under_another_tenant_and_can_not_be_ended_there(
    sites, pair: tuple[TenantRecord, TenantRecord], settings, engine
):
    settings.SESSION_ENGINE = engine
    store = import_module(engine).SessionStore
    with tenant_scope(pair[0]):
        session = store()
        session["basket"] = ["bread"]
        session.save()
        key = session.session_key
    with tenant_scope(pair[1]):
        assert dict(store(key).items()) == {}
        store().delete(key)
    with tenant_scope(pair[0]):
        assert store(key)["basket"] == ["bread"]


def test_the_admins_log_is_the_tenants_own(sites):
    mine, theirs = sites
    made = logged_in(mine).post("/admin/desk/tag/add/", {"name": "Only mine"})
    assert made.status_code == 302
    with tenant_scope(mine.tenant):
        entry = LogEntry.objects.get()
        assert entry.object_repr == "Only mine"
    with tenant_scope(theirs.tenant):
        assert not LogEntry.objects.exists()
        # A tag of the same number, with a history of its own.
        Tag.objects.create(pk=int(entry.object_id), name="Only theirs")
    logged_in(theirs)
    for page in ("/admin/", f"/admin/desk/tag/{entry.object_id}/history/"):
        assert b"Only mine" not in theirs.get(page).content
    assert b"Only mine" in mine.get("/admin/desk/tag/").content


def test_kinds_and_permissions_are_a_part_of_the_code_and_nobodys_to_make(pair):
    mine, theirs = pair
    with tenant_scope(mine):
        kind = ContentType.objects.get_for_model(Tag)
        for make in (
            lambda: Permission.objects.create(content_type=kind, codename="mine", name="Mine"),
            lambda: ContentType.objects.create(app_label="mine", model="secret"),
            lambda: Permission.objects.filter(codename="add_tag").update(name="Mine"),
            lambda: Permission.objects.filter(codename="add_tag").delete(),
        ):
            with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
                make()
    with tenant_scope(theirs):
        assert Permission.objects.get(codename="add_tag").name == "Can add tag"


def test_what_an_account_may_do_is_said_by_its_own_tenant(sites, pair):
    mine, theirs = pair
    for tenant in pair:
        with tenant_scope(tenant):
            User.objects.filter(username="twin").update(is_superuser=False)
    with tenant_scope(mine):
        allowed = Permission.objects.get(codename="change_tag")
        group = Group.objects.create(name="editors")
        group.permissions.add(allowed)
        User.objects.get(username="twin").groups.add(group)
        assert User.objects.get(username="twin").has_perm("desk.change_tag")
    with tenant_scope(theirs):
        assert not Group.objects.filter(name="editors").exists()
        assert not User.objects.get(username="twin").has_perm("desk.change_tag")
        assert not User.objects.filter(groups__permissions__codename="change_tag").exists()
    with tenant_scope(mine):
        group.delete()
