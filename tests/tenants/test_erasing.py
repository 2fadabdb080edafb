"""Erased is also what was on its way to another region meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest
from psycopg import sql

from desk.models import Tag
from regions import cells
from regions.deployment import Deployment
from regions.errors import NotSettled
from regions.replication.settle import wait_received
from regions.replication.transport import subscription_name
from regions.topology import CellSpec
from tenants import lifecycle
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.isolation import base
from tenants.models import Tenant
from tenants.seams import cell_spec, record_for
from tests.tenants.conftest import EU, HOME, onboard, silent

AWAY = next(region for region in EU if region != HOME)


def hear(deployment: Deployment, spec: CellSpec, *, enabled: bool) -> None:
    """Whether the other region gets what the home writes."""
    name = sql.Identifier(subscription_name(spec, HOME))
    state = sql.SQL("ENABLE" if enabled else "DISABLE")
    with cells.administrator(deployment, AWAY, spec.database) as admin:
        admin.execute(sql.SQL("ALTER SUBSCRIPTION {} {}").format(name, state))


@contextmanager
def cut(deployment: Deployment, spec: CellSpec) -> Iterator[None]:
    hear(deployment, spec, enabled=False)
    try:
        yield
    finally:
        hear(deployment, spec, enabled=True)


def with_rows(mode: str) -> TenantRecord:
    tenant = record_for(onboard(f"e{uuid4().hex[:10]}", mode))
    with tenant_scope(tenant):
        Tag.objects.create(name="personal")
    return tenant


def left(deployment: Deployment, spec: CellSpec, tenant: UUID) -> int:
    """Of the tenant's changes in the other region, once all has arrived there."""
    with cells.administrator(deployment, HOME, spec.database) as admin:
        wait_received(admin, spec, HOME, seconds=240)
    with cells.administrator(deployment, AWAY, spec.database) as admin:
        row = admin.execute("SELECT count(*) FROM fabric.change WHERE tenant = %s", (tenant,))
        return int((row.fetchone() or (0,))[0])


@pytest.mark.parametrize("mode", ["shared", "schema"])
def test_what_arrives_late_is_erased_too(tenants, deployment: Deployment, mode: str):
    spec = cell_spec(tenants[mode][0].cell)
    with cut(deployment, spec):
        tenant = with_rows(mode)
        mending = threading.Timer(3, lambda: hear(deployment, spec, enabled=True))
        mending.start()
        lifecycle.erase(tenant.slug, actor="test", progress=silent)
        mending.join()
    assert left(deployment, spec, tenant.id) == 0


def test_who_is_not_heard_of_is_not_called_erased(tenants, deployment: Deployment, monkeypatch):
    spec = cell_spec(tenants["schema"][0].cell)
    monkeypatch.setattr(base, "RECEIVED_SECONDS", 0.5)
    with cut(deployment, spec):
        tenant = with_rows("schema")
        for _ in range(2):  # the second time there is nothing left at home
            with pytest.raises(NotSettled, match=f"has not arrived in {AWAY}"):
                lifecycle.erase(tenant.slug, actor="test", progress=silent)
        assert Tenant.objects.get(id=tenant.id).state == "suspended"
    monkeypatch.undo()
    lifecycle.erase(tenant.slug, actor="test", progress=silent)
    assert Tenant.objects.get(id=tenant.id).state == "erased"
    assert left(deployment, spec, tenant.id) == 0
