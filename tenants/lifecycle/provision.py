"""Onboards a tenant: placed lawfully, isolated, and usable in each of its regions on return.

Guarantees that bad input changes nothing, that a failed step leaves no half-made tenant behind,
and that two processes can't onboard the same slug.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import Error as DjangoError
from django.db import transaction
from psycopg import Error as PostgresError

from regions.current import deployment
from regions.errors import RegionsError
from regions.models import Cell
from tenants import audit
from tenants.databases import control_writer_alias
from tenants.errors import ProvisioningFailed, SlugTaken, TenantsError
from tenants.isolation.base import Progress
from tenants.isolation.modes import isolation_of
from tenants.lifecycle.claim import claim
from tenants.lifecycle.create_cell import discard, make
from tenants.lifecycle.states import set_state
from tenants.lifecycle.usable import wait_until_usable
from tenants.limits.plans import find_plan
from tenants.models import Domain, Plan, Tenant
from tenants.placement import Placement, check_name, choose
from tenants.seams import find_tenant, record_for, spec_for

UNFINISHED = (Tenant.State.FAILED, Tenant.State.PROVISIONING)


def provision(
    slug: str,
    *,
    mode: str,
    cell: str | None = None,
    residency: str | None = None,
    policy: str | None = None,
    regions: Sequence[str] | None = None,
    plan: str = Plan.DEFAULT,
    actor: str,
    progress: Progress,
) -> Tenant:
    """Raises InvalidRequest, SlugTaken, ResidencyDenied … before anything is changed, and
    ProvisioningFailed after what was made has been taken back. Repeating it is safe."""
    check_name(slug, "slug")
    using = control_writer_alias()
    find_plan(plan, using=using)
    busy = SlugTaken(f"The slug {slug!r} is being onboarded by another process now.")
    with claim(slug, busy):
        _refuse_taken(slug, progress=progress, using=using)
        placement = choose(
            slug,
            mode=mode,
            cell=cell,
            residency_text=residency,
            policy=policy,
            regions=regions,
            using=using,
        )
        progress(f"cell {placement.spec.name}", 5)
        if placement.new:
            make(placement.spec, actor=actor, progress=progress)
        tenant = _register(slug, placement, plan=plan, actor=actor, using=using)
        _build(tenant, placement, actor=actor, progress=progress, using=using)
        set_state(tenant, Tenant.State.ACTIVE, verb="activate", actor=actor, using=using)
        progress("waiting until every region serves it", 85)
        wait_until_usable(record_for(tenant), placement.spec)
        progress("ready", 100)
        return find_tenant(slug, using=using)


def _build(
    tenant: Tenant, placement: Placement, *, actor: str, progress: Progress, using: str
) -> None:
    isolation = isolation_of(placement.spec)
    try:
        isolation.prepare_tenant(record_for(tenant), progress)
    except (DjangoError, PostgresError, OSError, RegionsError, TenantsError) as error:
        set_state(tenant, Tenant.State.FAILED, verb="fail", actor=actor, using=using)
        left = "nothing of it remains"
        try:
            isolation.remove_tenant(record_for(tenant), progress)
            if placement.new:
                _forget(tenant, using=using)
                discard(placement.spec)
        except (DjangoError, PostgresError, OSError) as again:
            left = f"and cleaning up failed too ({str(again).splitlines()[0]})"
        raise ProvisioningFailed(
            f"Onboarding {tenant.slug!r} stopped: {str(error).splitlines()[0]} ({left}). "
            "Repeat the command once that is mended."
        ) from error


def _register(slug: str, placement: Placement, *, plan: str, actor: str, using: str) -> Tenant:
    with transaction.atomic(using=using):
        tenant = Tenant(
            slug=slug,
            cell_id=placement.spec.name,
            residency=placement.residency,
            plan_id=plan,
        )
        tenant.save(using=using, force_insert=True)
        host = f"{slug}.{deployment().domain}"
        Domain(host=host, tenant=tenant).save(using=using, force_insert=True)
        audit.record(
            "provision", slug, actor=actor, using=using, cell=placement.spec.name, host=host
        )
    return find_tenant(slug, using=using)


def _refuse_taken(slug: str, *, progress: Progress, using: str) -> None:
    """What an earlier run left unfinished is cleared away, and the slug is free."""
    found = Tenant.objects.using(using).select_related("cell").filter(slug=slug).first()
    host = f"{slug}.{deployment().domain}"
    holder = Domain.objects.using(using).filter(host=host).exclude(tenant=found).first()
    if holder is not None:
        raise SlugTaken(f"The host {host!r} belongs to another tenant: choose another slug.")
    if found is None:
        return
    if found.state not in UNFINISHED:
        raise SlugTaken(f"The slug {slug!r} is taken: choose another.")
    if found.mode == Cell.Mode.SCHEMA:
        isolation_of(spec_for(found.cell)).remove_tenant(record_for(found), progress)
    _forget(found, using=using)


def _forget(tenant: Tenant, *, using: str) -> None:
    with transaction.atomic(using=using):
        Domain.objects.using(using).filter(tenant=tenant).delete()
        Tenant.objects.using(using).filter(id=tenant.id).delete()
