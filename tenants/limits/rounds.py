"""What a region does for its tenants' limits again and again; its keeper calls these.

Each takes the region's own map and touches the region's own servers, except `report_usage`,
which brings the region's counts to the control cell.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction

from regions.deployment import Deployment
from regions.topology import CellSpec, TenancyMode
from tenants.databases import control_writer_alias
from tenants.directory import TenantRecord
from tenants.limits.counts import Counts, today
from tenants.limits.meter import judge_again, meter_cell
from tenants.limits.store import store_of
from tenants.limits.watchdog import watch
from tenants.models import Tenant, Usage
from tenants.seams import local_directory, local_topology

KEEP_DAYS = 90


def watch_region(deployment: Deployment, region: str) -> int:
    """End statements that run too long, put changed quotas in force; how many were ended."""
    tenants = _tenants_of(region)
    allowed = {
        tenant.id: tenant.limits.statement_ms
        for tenant in tenants
        if tenant.limits.statement_ms is not None
    }
    counts = Counts(store_of(region))
    judge_again(deployment, region, _cells_of(region), tenants, counts)
    return watch(deployment, region, allowed)


def meter_region(deployment: Deployment, region: str) -> int:
    """Measure what is due; returns how many cells."""
    tenants, counts = _tenants_of(region), Counts(store_of(region))
    return sum(
        meter_cell(deployment, region, spec, [t for t in tenants if t.cell == spec.name], counts)
        for spec in _cells_of(region)
    )


def report_usage(region: str) -> int:
    """Bring today's counts, and yesterday's last ones, to the control cell; how many rows."""
    counts, using = Counts(store_of(region)), control_writer_alias()
    rows = []
    for day in (today() - timedelta(days=1), today()):
        known = Tenant.objects.using(using).filter(id__in=counts.active(day))
        tenants = list(known.values_list("id", flat=True))
        done, held = counts.done(tenants, day), counts.held(tenants)
        for tenant in tenants:
            now = held.get(tenant)
            rows.append(
                Usage(
                    id=Usage.key(tenant, region, day),
                    tenant_id=tenant,
                    region=region,
                    day=day,
                    requests=done[tenant].requests,
                    refused=done[tenant].refused,
                    busy_ms=done[tenant].busy_ms,
                    rows=now.rows if now else None,
                    bytes=now.bytes if now else None,
                )
            )
    with transaction.atomic(using=using):
        changed = _changed(rows, using=using)
        Usage.objects.using(using).bulk_create(
            changed,
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["requests", "refused", "busy_ms", "rows", "bytes", "at"],
        )
        oldest = today() - timedelta(days=KEEP_DAYS)
        Usage.objects.using(using).filter(region=region, day__lt=oldest).delete()
    return len(changed)


def _changed(rows: list[Usage], *, using: str) -> list[Usage]:
    """Each row that is written goes to every region: only those that say something new."""
    fields = ("requests", "refused", "busy_ms", "rows", "bytes")
    known = Usage.objects.using(using).in_bulk([row.id for row in rows])
    return [
        row
        for row in rows
        if row.id not in known
        or any(getattr(row, name) != getattr(known[row.id], name) for name in fields)
    ]


def _tenants_of(region: str) -> list[TenantRecord]:
    names = {spec.name for spec in _cells_of(region)}
    directory = local_directory().current()
    return [tenant for tenant in directory.by_slug.values() if tenant.cell in names]


def _cells_of(region: str) -> list[CellSpec]:
    return [
        spec
        for spec in local_topology().cells.values()
        if region in spec.regions and spec.mode is not TenancyMode.CONTROL
    ]
