"""Gives a cell that is in use a replica in one more region.

Guarantees that the residency policy of each of its tenants is asked before anything is made, and
once more before the region is on the map; that until then nobody is sent there; and that a run
which failed leaves nothing. One that was killed is begun again by repeating it.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from django.db import transaction

from regions import membership
from regions.current import deployment
from regions.errors import NotAlike
from regions.models import Cell, Replica
from regions.residency import Operation
from regions.topology import CellSpec
from tenants import audit
from tenants.claim import claim
from tenants.databases import control_writer_alias
from tenants.errors import CellBusy, InvalidRequest
from tenants.isolation.base import Progress
from tenants.isolation.modes import isolation_of
from tenants.isolation.owner import owner
from tenants.models import Tenant
from tenants.placement import require_lawful
from tenants.seams import find_cell, spec_for, unborn

Place = tuple[str, UUID | None]  # a schema, and whose it is


def add_region(name: str, region: str, *, actor: str, progress: Progress) -> Cell:
    """Raises UnknownCell, UnknownRegion, InvalidRequest, ResidencyDenied before anything is made;
    NotSettled, or CellBusy, after what was made has been taken away."""
    deployment().region(region)
    using = control_writer_alias()
    busy = CellBusy(f"Cell {name!r} is being made or changed by another process.")
    with claim(f"cell {name}", busy):
        cell = find_cell(name, using=using)
        spec = spec_for(cell)
        if region in spec.regions:
            raise InvalidRequest(f"Cell {name!r} has a replica in {region} already.")
        if cell.state != Cell.State.READY:
            raise InvalidRequest(f"Cell {name!r} is {cell.state}, not ready.")
        _require_lawful(name, region, using)
        made: set[Place] = set()

        def enter() -> None:
            with transaction.atomic(using=using):
                _require_lawful(name, region, using)
                last = max(cell.replicas.using(using).values_list("priority", flat=True))
                Replica(cell=cell, region_id=region, priority=last + 1).save(
                    using=using, force_insert=True
                )
                audit.record("add_region", name, actor=actor, using=using, region=region)

        try:
            membership.join(
                deployment(),
                spec,
                region,
                furnish=lambda alone: _furnish(alone, made, progress),
                enter=enter,
                tell=lambda step: progress(step, 50),
            )
        except NotAlike as error:
            raise InvalidRequest(
                f"{error}. Was a tenant onboarded meanwhile? Then repeat the command; else"
                f" first `cell migrate {name}`, which brings its tenants to this code's version."
            ) from error
        # Whoever was onboarded meanwhile: his rows are parked until there are tables.
        _furnish(replace(spec, regions=(region,)), made, progress)
    return find_cell(name, using=using)


def _require_lawful(cell: str, region: str, using: str) -> None:
    tenants = Tenant.objects.using(using).filter(cell=cell).exclude(state=Tenant.State.ERASED)
    for text in sorted(set(tenants.values_list("residency", flat=True))):
        for operation in (Operation.PLACE, Operation.REPLICATE):
            require_lawful(text, [region], operation)


def _furnish(alone: CellSpec, made: set[Place], progress: Progress) -> None:
    """The tables of everybody who lives, or may come to live, in the cell, except those `made`."""
    isolation = isolation_of(alone)
    if not made:
        isolation.prepare_cell(progress)
    with owner(alone, alone.regions[0]) as connection:
        places = set(isolation.schemas(connection))
    for schema, tenant in places - made:
        if tenant is not None:  # a shared cell has its tables from the beginning
            isolation.build(schema, unborn(tenant, f"of-{schema}", schema, alone))
    made |= places
