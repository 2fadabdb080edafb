"""Where a tenant's task is queued and where it runs: in the region that writes its cell.

Guarantees that a message is put only into the broker of a region that holds the tenant's data
(Q01), and that a worker which must not run it gives it on before any data is touched (Q02).
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from regions.errors import RegionsError
from regions.topology import CellSpec, Lease
from regions.writers import Action, decide
from tenants.databases import leases
from tenants.directory import TenantRecord
from tenants.seams import cell_spec


@dataclass(frozen=True, slots=True)
class Place:
    """`region` None: nowhere just now, ask again in a moment."""

    region: str | None
    reason: str


def place_of(cell: CellSpec, lease: Lease | None, here: str) -> Place:
    """Where a task of the cell's tenants runs, as seen from region `here`. Pure."""
    if here in cell.regions:
        decision = decide(cell, lease, here)
        if decision.action is Action.ALLOW:
            return Place(here, decision.reason)
        return Place(decision.writer, decision.reason)
    region = cell.regions[0]
    if cell.policy.leased:
        region = lease.writer if lease and lease.writer in cell.regions else region
    return Place(region, f"Cell {cell.name} has no replica in {here}.")


def runs_in(tenant: TenantRecord) -> Place:
    """Where a worker of this process' region has to see that the tenant's task runs."""
    here = settings.MERIDIAN_REGION
    if here is None:
        return Place(None, "This worker belongs to no region: set MERIDIAN_REGION.")
    try:
        return place_of(cell_spec(tenant.cell), leases().get(tenant.cell), here)
    except RegionsError as error:
        return Place(None, str(error))


def queued_in(tenant: TenantRecord) -> str | None:
    """The region whose broker takes the tenant's tasks; None: this process' own."""
    spec = cell_spec(tenant.cell)
    here = settings.MERIDIAN_REGION
    if here in spec.regions:
        return None
    return place_of(spec, leases().get(spec.name), here or "").region
