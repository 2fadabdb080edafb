"""A tenant's rows in the registry: made, and taken away, in one transaction each."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from regions.current import deployment
from regions.models import Cell, Replica
from regions.topology import CellSpec, TenancyMode
from tenants import audit
from tenants.databases import control_epoch, together
from tenants.isolation import blueprint
from tenants.lifecycle.request import Request
from tenants.models import Domain, Spare, Tenant
from tenants.placement import Placement, is_own_cell
from tenants.pools import dedicated_pool, schema_pool


def register_at_once(
    request: Request, placement: Placement, *, actor: str, using: str
) -> Tenant | None:
    """An active tenant, in a place that is ready for it; None when there is no such place.

    Raises IntegrityError when the slug, its host or the request's key is taken.
    """
    mode = placement.spec.mode
    if mode is TenancyMode.SHARED:
        if placement.seeded:
            return None
        with together(using):
            return _register(request, placement, actor=actor, using=using)
    with transaction.atomic(using=using):
        spare = _find_spare(placement, using=using)
        if spare is None:
            return None
        place = {"id": spare.id, "own_schema": spare.schema, "cell_id": spare.cell_id}
        with together(using):
            Spare.objects.using(using).filter(id=spare.id).delete()
            if mode is TenancyMode.DEDICATED:
                cells = Cell.objects.using(using).filter(name=spare.cell_id)
                cells.update(state=Cell.State.READY)
            return _register(request, placement, actor=actor, using=using, **place)


def register(request: Request, placement: Placement, *, actor: str, using: str) -> Tenant:
    """A tenant whose place has yet to be made: its own cell is registered with it."""
    state = Tenant.State.PROVISIONING
    with together(using):
        if placement.new:
            register_cell(placement.spec, actor=actor, using=using)
        return _register(request, placement, actor=actor, using=using, state=state)


def take_over(tenant: Tenant, request: Request, *, using: str) -> None:
    """What an earlier request left unfinished is this one's now."""
    wishes = request.wishes if request.key else ""
    Tenant.objects.using(using).filter(id=tenant.id).update(
        plan_id=request.plan, request_key=request.key, request=wishes
    )


def forget(tenant: Tenant, *, using: str) -> None:
    """The rows of a tenant that never came to be, and those of the cell that was to be its own."""
    with transaction.atomic(using=using):
        Domain.objects.using(using).filter(tenant=tenant).delete()
        Tenant.objects.using(using).filter(id=tenant.id).delete()
        if is_own_cell(tenant.cell_id):
            forget_cell(tenant.cell_id, using=using)


def register_cell(spec: CellSpec, *, actor: str, using: str) -> Cell:
    """A cell that has yet to be made. In the caller's transaction."""
    cell = Cell(
        name=spec.name,
        mode=spec.mode.value,
        policy=spec.policy.value,
        timetable=spec.timetable,
    )
    cell.save(using=using, force_insert=True)
    for priority, region in enumerate(spec.regions):
        Replica(cell=cell, region_id=region, priority=priority).save(using=using, force_insert=True)
    audit.record("create_cell", spec.name, actor=actor, using=using, regions=list(spec.regions))
    return cell


def forget_cell(name: str, *, using: str) -> None:
    """The rows of a cell that has no databases. In the caller's transaction."""
    Replica.objects.using(using).filter(cell=name).delete()
    Cell.objects.using(using).filter(name=name).delete()


def own_host(slug: str) -> str:
    """The host that each tenant has from the beginning."""
    return f"{slug}.{deployment().domain}"


def _register(
    request: Request, placement: Placement, *, actor: str, using: str, **fields: Any
) -> Tenant:
    """Within `together()`: the writer may be an ocean away."""
    tenant = Tenant(
        **{
            "slug": request.slug,
            "plan_id": request.plan,
            "cell_id": placement.spec.name,
            "residency": placement.residency,
            "state": Tenant.State.ACTIVE,
            "request_key": request.key,
            "request": request.wishes if request.key else "",
            **fields,
        }
    )
    host = own_host(request.slug)
    detail = {"cell": tenant.cell_id, "host": host}
    tenant.save(using=using, force_insert=True)
    Domain(host=host, tenant=tenant).save(using=using, force_insert=True)
    audit.record("provision", request.slug, actor=actor, using=using, **detail)
    return tenant


def _find_spare(placement: Placement, *, using: str) -> Spare | None:
    """One that nobody else takes before this transaction ends: they skip it."""
    spec = placement.spec
    if spec.mode is TenancyMode.DEDICATED and not placement.new:
        return None
    pool = (
        schema_pool(spec.name)
        if spec.mode is TenancyMode.SCHEMA
        else dedicated_pool(spec.regions, spec.policy)
    )
    return (
        Spare.objects.using(using)
        .select_for_update(skip_locked=True)
        .filter(
            pool=pool,
            state=Spare.State.READY,
            epoch=control_epoch(),
            doubted_at=None,
            fingerprint=blueprint.fingerprint(),
        )
        .first()
    )
