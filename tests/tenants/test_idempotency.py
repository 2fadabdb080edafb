"""Asked twice with one key, onboarding gives one tenant."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from django.db import connections

from tenants import lifecycle
from tenants.errors import InvalidRequest, KeyReused, SlugTaken
from tenants.models import Operation, Tenant
from tenants.tasks import provision_tenant
from tests.tenants.conftest import onboard, silent

MODES = ("shared", "schema", "dedicated")


def slug() -> str:
    return f"k{uuid4().hex[:10]}"


@pytest.mark.parametrize("mode", MODES)
def test_the_same_request_again_is_the_same_tenant(tenants, mode: str):
    name, key = slug(), str(uuid4())
    first = onboard(name, mode, idempotency_key=key)
    again = onboard(name, mode, idempotency_key=key)
    assert (again.id, again.state) == (first.id, "active")
    with pytest.raises(SlugTaken):
        onboard(name, mode)
    with pytest.raises(SlugTaken):
        onboard(name, mode, idempotency_key=str(uuid4()))


@pytest.mark.parametrize(
    "other",
    [
        {"mode": "schema"},
        {"residency": "DE"},
        {"policy": "active_passive"},
        {"regions": ["eu-west"]},
    ],
)
def test_a_key_is_refused_for_anything_else(tenants, other: dict):
    name, key = slug(), str(uuid4())
    wanted = {"mode": "shared", "residency": "EU", "policy": "active_active"}
    onboard(name, idempotency_key=key, **wanted)
    before = Tenant.objects.count()
    with pytest.raises(KeyReused, match=f"used to onboard '{name}'"):
        onboard(name, idempotency_key=key, **{**wanted, **other})
    with pytest.raises(KeyReused):
        onboard(slug(), idempotency_key=key, **wanted)
    assert Tenant.objects.count() == before


def test_a_key_says_nothing_in_the_registry(tenants):
    tenant = onboard(slug(), "shared", idempotency_key="ann@example.org")
    row = Tenant.objects.filter(id=tenant.id).values().get()
    assert "ann" not in str(row)
    for key in ("", "x" * 256):
        with pytest.raises(InvalidRequest, match="1 to 255"):
            onboard(slug(), "shared", idempotency_key=key)


def test_the_key_of_an_erased_tenant_is_spent(tenants):
    name, key = slug(), str(uuid4())
    onboard(name, "shared", idempotency_key=key)
    lifecycle.erase(name, actor="test", progress=silent)
    with pytest.raises(KeyReused, match="erased"):
        onboard(name, "shared", idempotency_key=key)


@pytest.mark.parametrize("mode", MODES)
def test_requests_at_the_same_time_are_one_tenant(tenants, mode: str):
    name, key = slug(), str(uuid4())

    def ask(_: int) -> Tenant:
        try:
            return onboard(name, mode, idempotency_key=key)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        made = {tenant.id for tenant in pool.map(ask, range(4))}
    assert len(made) == 1
    assert Tenant.objects.filter(slug=name).count() == 1


def test_an_operation_that_lost_its_worker_after_the_work_is_done_all_the_same(tenants):
    arguments = {"mode": "shared", "residency": "EU", "policy": "active_active"}
    operation = Operation.objects.create(
        verb="provision", slug=slug(), arguments=arguments, actor="console"
    )
    onboard(operation.slug, **arguments, idempotency_key=str(operation.id))
    provision_tenant.apply(args=[str(operation.id)], throw=True)
    operation.refresh_from_db()
    assert (operation.state, operation.error) == ("done", "")
