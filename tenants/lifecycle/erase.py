"""Deletes a tenant: its rows, schema or databases in every replica, and its files, for good.

What remains is a tombstone in the registry: the id, and the slug with the id's first digits, so
that the slug is free again. A run that broke (a region down) is repeated with the same command.
"""

from __future__ import annotations

from django.db import transaction

from regions.models import Cell, Replica
from tenants import audit
from tenants.databases import control_writer_alias
from tenants.errors import TenantNotActive
from tenants.files import transfer as files
from tenants.isolation.base import Progress
from tenants.isolation.modes import isolation_of
from tenants.lifecycle.states import set_state
from tenants.models import Tenant
from tenants.seams import find_tenant, record_for, spec_for


def erase(slug: str, *, actor: str, progress: Progress) -> Tenant:
    """Closes the doors first, then deletes in every region, then frees the slug."""
    using = control_writer_alias()
    tenant = find_tenant(slug, using=using)
    if tenant.state == Tenant.State.ERASED:
        raise TenantNotActive(f"Tenant {slug!r} is erased already.")
    if tenant.state == Tenant.State.MOVING or tenant.moves.using(using).exists():
        raise TenantNotActive(
            f"Tenant {slug!r} is being moved: end that first with `tenant resume {slug}`."
        )
    if tenant.state != Tenant.State.SUSPENDED:
        set_state(tenant, Tenant.State.SUSPENDED, verb="suspend", actor=actor, using=using)
    spec = spec_for(tenant.cell)
    isolation_of(spec).remove_tenant(record_for(tenant), progress)
    progress("files", 80)
    files.remove(tenant.id)
    with transaction.atomic(using=using):
        tenant.domains.using(using).all().delete()
        tenant.slug = f"{slug[:30]}-{tenant.id.hex[:8]}"
        tenant.state = Tenant.State.ERASED
        tenant.save(using=using, update_fields=["slug", "state"])
        if tenant.mode == Cell.Mode.DEDICATED:
            # Its databases are gone; no replica is listed where nothing is.
            Replica.objects.using(using).filter(cell=tenant.cell_id).delete()
        audit.record("erase", slug, actor=actor, using=using, tenant=str(tenant.id))
    return tenant
