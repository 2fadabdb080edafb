"""What an app's migrations and handlers write is there for every tenant, in every mode."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db import connections

from tenants.context import tenant_scope
from tenants.databases import cell_alias
from tenants.directory import TenantRecord
from tenants.isolation.modes import isolation_of
from tenants.lifecycle import move
from tenants.models import Tenant
from tenants.seams import cell_spec, record_for
from tests.tenants.conftest import EU, onboard, silent
from tests.tenants.replicas import differences

Another = Callable[[str], TenantRecord]


def rows(label: str) -> Any:
    """Of a model that is only there while its app is installed."""
    return apps.get_model(label)._default_manager


def holds(tenant: TenantRecord) -> dict[str, object]:
    with tenant_scope(tenant):
        return {
            "sites": list(rows("sites.Site").values_list("pk", "domain")),
            "kinds": sorted(rows("orchard.Kind").values_list("name", flat=True)),
            "trees": list(
                rows("orchard.Tree").order_by("pk").values_list("pk", "kind__name", "near")
            ),
            "keepers": list(User.objects.values_list("username", flat=True)),
            "rights": list(Group.objects.values_list("name", "permissions__codename")),
        }


def test_a_new_tenant_starts_with_the_rows_of_migrations_and_handlers(
    neighbours: list[TenantRecord],
):
    tenant = neighbours[0]
    found = holds(tenant)
    first = found["trees"][0][0]  # type: ignore[index]
    assert found == {
        "sites": [(1, "example.com")],
        "kinds": ["apple", "quince"],
        "trees": [(first, "apple", None), (70, "apple", first)],
        "keepers": ["keeper"],
        "rights": [("keepers", "change_kind")],
    }
    with tenant_scope(tenant):
        kind = ContentType.objects.get_for_model(rows("orchard.Kind").model)
        assert rows("orchard.Tree").get(pk=first).about == kind
    assert isolation_of(cell_spec(tenant.cell)).lacking() == []


def test_they_are_in_every_region_from_then_on(neighbours: list[TenantRecord]):
    tenant = neighbours[0]
    for region in EU:
        alias = cell_alias(tenant.cell, region=region)
        with tenant_scope(tenant), connections[alias].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM orchard_tree JOIN orchard_kind k ON true")
            assert cursor.fetchone() == (4,)
    assert differences(tenant.cell) == []


def test_they_are_the_tenants_own(neighbours: list[TenantRecord]):
    other, one = neighbours
    before = holds(other)
    with tenant_scope(one):
        rows("sites.Site").update(domain="one.example")
        rows("orchard.Tree").get(pk=70).delete()
        rows("orchard.Kind").filter(name="apple").update(name="pear")
        kind = rows("orchard.Kind").first()
        assert min(rows("orchard.Tree").create(kind=kind).pk for _ in range(3)) > 70
        assert rows("sites.Site").create(domain="two.example").pk > 1
    assert holds(other) == before
    assert holds(one)["kinds"] == ["pear", "quince"]


def test_what_a_tenant_starts_with_is_nobody_elses_to_see(another: Another):
    """The seed's rows are in the same tables."""
    tenant = another("shared")
    with tenant_scope(tenant), connections[cell_alias(tenant.cell)].cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT tenant_id) FROM public.orchard_tree")
        assert cursor.fetchone() == (2, 1)


def test_a_tenant_takes_them_along_as_it_has_changed_them(another: Another):
    tenant = another("shared")
    with tenant_scope(tenant):
        rows("sites.Site").update(domain="mine.example")
        rows("orchard.Tree").get(pk=70).delete()
        rows("orchard.Kind").create(name="plum")
    kept = holds(tenant)
    places: tuple[dict[str, Any], ...] = (
        {"cell": "sd-schema"},
        {"mode": "dedicated", "regions": EU},
        {"cell": "sd-shared"},
    )
    for place in places:
        move(tenant.slug, **place, actor="test", progress=silent)
        tenant = record_for(Tenant.objects.get(slug=tenant.slug))
        assert holds(tenant) == kept, place
        with tenant_scope(tenant):
            fresh = rows("orchard.Kind").create(name=f"of {tenant.mode}")
            fresh.delete()


def test_onboarding_that_was_stopped_halfway_is_repeated_with_the_rows_once(
    another: Another, cells: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    slug = f"s{uuid4().hex[:8]}"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(import_module("tenants.lifecycle.provision"), "set_state", die)
        onboard(slug, "shared", cell=cells["shared"])
    assert Tenant.objects.get(slug=slug).state == Tenant.State.PROVISIONING
    repeated = record_for(onboard(slug, "shared", cell=cells["shared"]))
    assert holds(repeated) == holds(another("shared"))


class Killed(BaseException):
    """Nobody catches it."""


def die(*args: Any, **kwargs: Any) -> None:
    raise Killed
