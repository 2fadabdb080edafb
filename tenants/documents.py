"""Tenants and cells as commands print them: the shapes that outside checks rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regions.models import Cell
from regions.replication.status import turn_document
from tenants.databases import leases
from tenants.models import Tenant
from tenants.seams import spec_for

if TYPE_CHECKING:
    from tenants.lifecycle.move_plan import MovePlan


def tenant_document(tenant: Tenant) -> dict[str, Any]:
    """What `tenant create` and `tenant show` print."""
    hosts = [domain.host for domain in tenant.domains.all()]
    return {
        "id": str(tenant.id),
        "slug": tenant.slug,
        "mode": tenant.mode,
        "cell": tenant.cell_id,
        "host": hosts[0] if hosts else None,
        "regions": tenant.cell.region_names,
        "writer": writer_of(tenant.cell),
        "policy": tenant.cell.policy,
        "residency": tenant.residency,
        "state": tenant.state,
        "plan": tenant.plan_id,
    }


def move_plan_document(tenant: Tenant, plan: MovePlan) -> dict[str, Any]:
    """What `tenant move --dry-run` prints."""
    return {
        "dry_run": True,
        "slug": tenant.slug,
        "from": plan.source.name,
        "to": plan.target.name,
        "new_cell": plan.new,
        "mode": plan.target.mode.value,
        "regions": list(plan.target.regions),
        "policy": plan.target.policy.value,
        "residency": plan.residency,
    }


def cell_document(cell: Cell) -> dict[str, Any]:
    """A line of `cell list`."""
    return {
        "name": cell.name,
        "mode": cell.mode,
        "policy": cell.policy,
        **turn_document(spec_for(cell)),
        "regions": cell.region_names,
        "writer": writer_of(cell),
        "state": cell.state,
    }


def writer_of(cell: Cell) -> str | None:
    """None when nobody holds the lease, and where every region writes."""
    if not cell.region_names:
        return None
    lease = leases().get(cell.name)
    return lease.writer if lease else None
