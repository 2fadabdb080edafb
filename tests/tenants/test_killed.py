"""Killed at any of its steps, an onboarding leaves nothing that the next one can't end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from desk.models import Ticket
from regions import cells
from regions.deployment import CONTROL_DATABASE, Deployment
from regions.models import Cell
from tenants import lifecycle
from tenants.context import tenant_scope
from tenants.isolation.modes import isolation_of
from tenants.models import Spare, Tenant
from tenants.seams import cell_spec, record_for
from tests.tenants.conftest import EU, HOME, MODES, end_own_cells, silent
from tests.tenants.mortal import Mortals, mortals
from tests.tenants.workers import until

WISHES = {"residency": "EU", "policy": "active_active"}
MANY = 30
LOCKS = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
# Databases that other tests made beside the registry.
OTHERS = {"cell_desk_lab", "cell_desk_fenced", "cell_lab"}


@pytest.fixture(scope="module")
def mortal(tenants) -> Iterator[Mortals]:
    with mortals() as found:
        yield found


@pytest.fixture(autouse=True)
def no_spares(tenants, settings) -> Iterator[None]:
    settings.MERIDIAN_SPARES = {}
    lifecycle.drain_pools(actor="test", progress=silent)
    yield
    lifecycle.drain_pools(actor="test", progress=silent)


def killed_at(
    deployment: Deployment, mortal: Mortals, step: int, verb: str, **arguments: Any
) -> bool:
    """Who is killed has its locks until the servers notice: they have when this returns."""
    killed = mortal.killed_at(step, verb, **arguments)
    with cells.administrator(deployment, HOME, CONTROL_DATABASE) as admin:
        until(lambda: admin.execute(LOCKS).fetchone() == (0,))
    return killed


def nothing_is_left_over(deployment: Deployment) -> None:
    """Every schema, database and cell is somebody's, and nobody is half there."""
    assert not Tenant.objects.filter(state__in=("provisioning", "failed")).exists()
    assert not Cell.objects.filter(state="provisioning").exists()
    schemas = {tenant.own_schema for tenant in Tenant.objects.filter(cell="eu-schema")}
    databases = {cell.database for cell in Cell.objects.prefetch_related("replicas")}
    for region in EU:
        with cells.administrator(deployment, region, "cell_eu_schema") as admin:
            rows = admin.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 't\\_%'")
            assert {row[0] for row in rows} <= schemas
            rows = admin.execute("SELECT datname FROM pg_database WHERE datname LIKE 'cell\\_%'")
            assert {row[0] for row in rows} - OTHERS <= databases


def works(tenant: Tenant) -> None:
    assert tenant.state == "active"
    assert isolation_of(cell_spec(tenant.cell_id)).lacking() == []
    with tenant_scope(record_for(tenant)):
        Ticket.objects.create(title="it works")
        assert Ticket.objects.count() == 1


@pytest.mark.parametrize("mode", MODES)
def test_the_next_request_with_the_key_finishes_what_was_killed(
    deployment: Deployment, mortal: Mortals, mode: str
):
    for step in range(1, MANY):
        name, key = f"q{uuid4().hex[:10]}", str(uuid4())
        wanted: dict[str, Any] = {"mode": mode, **WISHES, "idempotency_key": key}
        killed = killed_at(deployment, mortal, step, "provision", slug=name, **wanted)
        works(lifecycle.provision(name, **wanted, actor="test", progress=silent))
        assert Tenant.objects.filter(slug=name).count() == 1
        nothing_is_left_over(deployment)
        end_own_cells()
        if not killed:
            break
    assert step > 3


@pytest.mark.parametrize("mode", ["schema", "dedicated"])
def test_a_spare_that_a_killed_request_took_is_its_tenants(
    deployment: Deployment, mortal: Mortals, mode: str
):
    for step in (1, 2, 3):
        key = f"{mode}:eu-schema" if mode == "schema" else "dedicated:eu-west:active_active"
        regions = None if mode == "schema" else ["eu-west"]
        if mode == "dedicated":
            # A pool is kept where somebody has a cell.
            wanted = {"mode": mode, "regions": regions, **WISHES}
            lifecycle.provision(f"q{uuid4().hex[:10]}", **wanted, actor="test", progress=silent)
        lifecycle.fill_pools(key=key, to=1, actor="test", progress=silent)
        (spare,) = Spare.objects.filter(pool=key)
        name = f"q{uuid4().hex[:10]}"
        wanted = {"mode": mode, "regions": regions, **WISHES, "idempotency_key": name}
        assert killed_at(deployment, mortal, step, "provision", slug=name, **wanted)
        tenant = lifecycle.provision(name, **wanted, actor="test", progress=silent)
        assert tenant.id == spare.id
        works(tenant)
        assert not Spare.objects.exists()
        nothing_is_left_over(deployment)


@pytest.mark.parametrize("step", [3, 5])
def test_who_asks_for_something_else_clears_away_what_was_killed(
    deployment: Deployment, mortal: Mortals, step: int
):
    name = f"q{uuid4().hex[:10]}"
    assert killed_at(deployment, mortal, step, "provision", slug=name, mode="dedicated", **WISHES)
    left = Tenant.objects.get(slug=name)
    assert left.state == "provisioning"
    wanted: dict[str, Any] = {"mode": "schema", **WISHES}
    tenant = lifecycle.provision(name, **wanted, actor="test", progress=silent)
    assert tenant.id != left.id
    works(tenant)
    nothing_is_left_over(deployment)


@pytest.mark.parametrize("key", ["schema:eu-schema", "dedicated:eu-west:active_active"])
def test_who_fills_a_pool_next_clears_away_what_was_killed(
    deployment: Deployment, mortal: Mortals, settings, key: str
):
    wanted = {"mode": "dedicated", "regions": ["eu-west"], **WISHES}
    lifecycle.provision(f"q{uuid4().hex[:10]}", **wanted, actor="test", progress=silent)
    for step in range(1, MANY):
        killed = killed_at(deployment, mortal, step, "fill_pools", key=key, to=1)
        (done,) = lifecycle.fill_pools(key=key, to=1, actor="test", progress=silent)
        assert done.problem == ""
        assert Spare.objects.get(pool=key).state == "ready"
        lifecycle.drain_pools(actor="test", progress=silent)
        nothing_is_left_over(deployment)
        if not killed:
            break
    assert step > 2
