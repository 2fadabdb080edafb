"""Shows an operator a tenant's part of the conflict ledger, and restores what was lost.

Guarantees that nobody sees a value in a place where the tenant's data may not be (S01), and that
every look and every restore is in the audit trail.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction

from regions import residency
from regions.current import deployment
from regions.residency import Destination, Operation
from tenants import audit
from tenants.conflicts.browse import Page, browse
from tenants.conflicts.entries import Wanted
from tenants.conflicts.restore import restore
from tenants.context import tenant_scope
from tenants.databases import control_writer_alias
from tenants.directory import TenantRecord
from tenants.errors import TenantNotActive
from tenants.models import Tenant
from tenants.seams import cell_spec, find_tenant, record_for


def show_conflicts(slug: str, wanted: Wanted, *, at: str | None, actor: str) -> Page:
    """`at`: the region that the operator is in; None: this process', else the cell's home. Raises
    ResidencyDenied, UnknownTenant, TenantNotActive."""
    tenant = _seen_from(slug, at)
    _audit("show_conflicts", tenant, actor=actor, table=wanted.table, kind=wanted.kind)
    with tenant_scope(tenant):
        return browse(wanted)


def restore_conflict(slug: str, id_: UUID, *, at: str | None, actor: str) -> bool:
    """Whether it has been restored now; False: it was before. Also raises UnknownConflict,
    RestoreRefused and the database's own errors."""
    tenant = _seen_from(slug, at)
    with tenant_scope(tenant):
        done = restore(id_, by=actor).done
    _audit("restore_conflict", tenant, actor=actor, conflict=str(id_), already=not done)
    return done


def _seen_from(slug: str, at: str | None) -> TenantRecord:
    tenant = find_tenant(slug)
    if tenant.state not in (Tenant.State.ACTIVE, Tenant.State.SUSPENDED):
        raise TenantNotActive(f"Tenant {slug!r} is {tenant.state}: it has no ledger.")
    record = record_for(tenant)
    where = at or settings.MERIDIAN_REGION or cell_spec(record.cell).regions[0]
    residency.require(
        residency.parse_policy(record.residency),
        Operation.SUPPORT,
        Destination.of(deployment().region(where)),
        at=datetime.now(UTC),
    )
    return record


def _audit(verb: str, tenant: TenantRecord, *, actor: str, **detail: object) -> None:
    using = control_writer_alias()
    with transaction.atomic(using=using):
        audit.record(verb, tenant.slug, actor=actor, using=using, **detail)
