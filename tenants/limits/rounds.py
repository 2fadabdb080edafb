"""What a region does for its tenants' limits again and again; its keeper calls these.

Each takes the region's own map and touches the region's own servers, except `report_usage`,
which brings the region's counts to the control cell.
"""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import suppress
from datetime import timedelta

import redis
from django.db import transaction

from regions.deployment import Deployment
from regions.topology import CellSpec, TenancyMode
from tenants.databases import control_writer_alias
from tenants.directory import TenantRecord
from tenants.files.places import home_of, store_in
from tenants.limits.counts import Counts, today
from tenants.limits.files import measure_files
from tenants.limits.meter import SHARE, judge_again, meter_cell
from tenants.limits.store import store_of
from tenants.limits.watchdog import watch
from tenants.models import Tenant, Usage
from tenants.seams import local_directory, local_topology

KEEP_DAYS = 90
FILES_SECONDS = 60.0
_COUNTED = ("requests", "refused", "busy_ms", "connections", "rows", "bytes", "files")


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


def measure_files_of(region: str) -> int:
    """Count the files in the region's store, and bring here what the other regions have counted of
    theirs; how many tenants have their files here. Takes at most a twentieth of the time."""
    began, counts = time.monotonic(), Counts(store_of(region))
    homes: dict[str, list[TenantRecord]] = defaultdict(list)
    topology = local_topology()
    for tenant in _tenants_of(region):
        homes[home_of(topology.cell(tenant.cell))].append(tenant)
    mine = homes.pop(region, [])
    measure_files([(tenant, store_in(region, tenant.id)) for tenant in mine], counts)
    for home, tenants in homes.items():
        with suppress(redis.RedisError):
            counts.copy_files(Counts(store_of(home)).files([tenant.id for tenant in tenants]))
    counts.again_in("turn:files", max(FILES_SECONDS, SHARE * (time.monotonic() - began)))
    return len(mine)


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
                    connections=done[tenant].connections,
                    rows=now.rows if now else None,
                    bytes=now.bytes if now else None,
                    files=now.files if now else None,
                )
            )
    with transaction.atomic(using=using):
        changed = _changed(rows, using=using)
        Usage.objects.using(using).bulk_create(
            changed,
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=[*_COUNTED, "at"],
        )
        oldest = today() - timedelta(days=KEEP_DAYS)
        Usage.objects.using(using).filter(region=region, day__lt=oldest).delete()
    return len(changed)


def _changed(rows: list[Usage], *, using: str) -> list[Usage]:
    """Each row that is written goes to every region: only those that say something new."""
    known = Usage.objects.using(using).in_bulk([row.id for row in rows])
    return [
        row
        for row in rows
        if row.id not in known
        or any(getattr(row, name) != getattr(known[row.id], name) for name in _COUNTED)
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
