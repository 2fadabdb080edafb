"""What the product team tests. Each of the first ones fails if an earlier one left something."""

import threading

import pytest
from bakery.models import Loaf, Oven
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import IntegrityError, connection, transaction

from tenants.context import current_tenant, tenant_scope
from tenants.errors import WrongTenantError


@pytest.mark.parametrize("turn", [1, 2])
def test_writes_are_undone(tenant, turn):
    assert not Oven.objects.exists()
    assert cache.get("turn") is None
    assert not default_storage.exists("loaf.png")
    Oven.objects.create(name="stone")
    cache.set("turn", turn)
    default_storage.save("loaf.png", ContentFile(b"crust"))


@pytest.mark.parametrize("turn", [1, 2])
def test_commits_are_undone(transactional_tenant, turn):
    seen = []
    with transaction.atomic():
        Oven.objects.create(name="stone")

    def look():
        with tenant_scope(transactional_tenant):
            seen.extend(Oven.objects.values_list("id", "name"))
            connection.close()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert [name for _, name in seen] == ["stone"]
    # Numbers begin again too.
    numbers.append(seen[0][0])
    assert len(set(numbers[-turn:])) == 1


numbers = []


def test_the_mode_is_the_cells(tenant, tenant_mode):
    assert current_tenant().mode == tenant_mode
    assert connection.settings_dict["MERIDIAN"]["mode"] == tenant_mode


@pytest.mark.tenant_modes("schema")
def test_in_one_mode(tenant):
    assert tenant.mode == "schema"


@pytest.mark.django_db
def test_djangos_marks_work_too(tenant, django_assert_num_queries):
    with django_assert_num_queries(1):
        Oven.objects.count()


def test_errors_within_atomic(tenant):
    Oven.objects.create(name="stone")
    with pytest.raises(IntegrityError), transaction.atomic():
        Oven.objects.create(name="stone")
    assert Oven.objects.count() == 1


def test_two_tenants(tenant, tenants):
    other = tenants()
    assert other.id != tenant.id
    mine = Oven.objects.create(name="stone")
    with tenant_scope(other):
        assert not Oven.objects.exists()
        Oven.objects.create(name="stone")
        with pytest.raises(WrongTenantError):
            Loaf(oven=mine).save()
    assert Oven.objects.count() == 1


@pytest.mark.tenant_modes("shared", "schema")
def test_a_third_of_a_test_that_commits(transactional_tenant, tenants):
    for other in (tenants(), tenants()):
        with tenant_scope(other):
            Oven.objects.create(name="stone")


def test_a_third_is_as_new(tenant, tenants):
    for other in (tenants(), tenants()):
        with tenant_scope(other):
            assert not Oven.objects.exists()
            Oven.objects.create(name="stone")


def test_requests_go_through_the_gateway(tenant, tenants, client_of, tenant_client):
    other = client_of(tenants())
    assert tenant_client.post("/ovens", {"name": "stone"}).json()["ovens"] == ["stone"]
    answer = other.get("/ovens")
    assert answer.json()["ovens"] == []
    assert answer["X-Region"] == "eu-west"
    assert other.get("/ovens", headers={"host": "nobody.localhost"}).status_code == 404


def test_logged_in(tenant, tenants, client_of, tenant_client):
    user = User.objects.create_user("ann", password="right")
    assert not tenant_client.login(username="ann", password="wrong")
    assert tenant_client.login(username="ann", password="right")
    assert tenant_client.get("/ovens").json()["user"] == "ann"
    other = client_of(tenants())
    with pytest.raises(WrongTenantError):
        other.force_login(user)
    other.cookies = tenant_client.cookies
    assert other.get("/ovens").json()["user"] is None


@pytest.mark.tenant_modes("shared")
def test_ends_with_what_a_commit_would_refuse(tenant):
    Loaf.objects.create(oven_id=4711)
