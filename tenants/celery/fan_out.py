"""Starts the periodic tasks of the tenants that this region writes.

Guarantees that of all regions' beats one starts a tenant's job, that a tenant which is not active
gets none, that one whose cell can't be written keeps no other from its job, and that a look which
broke off is taken up by the next: what was sent and not noted is sent again under the same task id.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import Error as DjangoError

from regions.cli import one_line
from tenants.celery.beat import Job, beats_in, look, parse_jobs
from tenants.context import tenant_scope
from tenants.databases import leases
from tenants.directory import TenantRecord
from tenants.seams import local_directory, local_topology

logger = logging.getLogger(__name__)

_PREFIX = "meridian.beat"
LOCK_SECONDS = 120


def fan_out(client: Any) -> int:
    """Send what is due now; returns how many. `client` is the region's Valkey, which remembers
    the last moment of each tenant and job."""
    lock = client.lock(f"{_PREFIX}.lock", timeout=LOCK_SECONDS)
    if not lock.acquire(blocking=False):
        return 0
    try:
        tenants = [*_lasting()]
        return sum(
            _start(client, job, tenants) for job in parse_jobs(settings.MERIDIAN_TENANT_BEAT)
        )
    finally:
        lock.release()


def _lasting() -> Iterable[tuple[TenantRecord, bool]]:
    """The tenants whose time does not stand still, and whether their jobs start here."""
    cells, writers = local_topology().cells, leases()
    for tenant in local_directory().current().by_id.values():
        cell = cells.get(tenant.cell)
        region = beats_in(cell, writers.get(tenant.cell)) if cell else None
        if tenant.state == "active" and region is not None:
            yield tenant, region == settings.MERIDIAN_REGION


def _start(client: Any, job: Job, tenants: Iterable[tuple[TenantRecord, bool]]) -> int:
    key = f"{_PREFIX}:{job.name}"
    seen = {field.decode(): float(moment) for field, moment in client.hgetall(key).items()}
    sent = 0
    for tenant, here in tenants:
        now = time.time()
        found = look(job, tenant.id, seen=seen.get(tenant.id.hex), now=now)
        if found.moment is None:
            continue
        # Another region's are noted too: if this one takes over, it does not repeat them.
        if found.run and here:
            try:
                with tenant_scope(tenant):
                    current_app.send_task(
                        job.task,
                        job.args,
                        dict(job.kwargs),
                        task_id=job.task_id(tenant.id, found.moment),
                        ignore_result=True,
                        add_to_parent=False,
                    )
            except DjangoError as error:
                logger.warning("%s of %s: %s", job.name, tenant.slug, one_line(error))
                continue
            sent += 1
        client.hset(key, tenant.id.hex, found.moment)
    return sent
