"""Background work of the control plane: operations that the console starts and watches.

An operation is a row; the task only carries its id. Guarantees that progress and outcome are in
the row, that an operation runs once at a time, and that one whose worker died is taken up again.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import psycopg
from celery import current_app, shared_task
from django.conf import settings
from django.db import Error as DjangoError
from django.db import transaction
from django.utils import timezone

from regions.cli import one_line
from regions.deployment import CONTROL_CELL
from regions.errors import RegionsError
from tenants import lifecycle
from tenants.celery.fan_out import fan_out
from tenants.celery.take_over import take_over
from tenants.databases import control_writer_alias, leases
from tenants.drill_schedules import start_due
from tenants.errors import TenantsError
from tenants.models import Operation

# A running operation reports at least this often; a silent one has lost its worker.
SILENCE = timedelta(minutes=5)
UNSENT = timedelta(seconds=30)


@shared_task(name="tenants.tasks.provision_tenant")  # type: ignore[untyped-decorator]
def provision_tenant(operation_id: str) -> None:
    """Onboard the tenant that the operation describes."""
    operation = _take(UUID(operation_id))
    if operation is None:
        return

    def progress(step: str, percent: int) -> None:
        _report(operation, step=step, percent=percent)

    try:
        lifecycle.provision(
            operation.slug,
            **operation.arguments,
            idempotency_key=str(operation.id),
            actor=operation.actor,
            progress=progress,
        )
    except (TenantsError, RegionsError, DjangoError, psycopg.Error, OSError) as error:
        _report(operation, state=Operation.State.FAILED, error=one_line(error))
    else:
        _report(operation, state=Operation.State.DONE, step="ready", percent=100)


@shared_task(name="tenants.tasks.resume_operations")  # type: ignore[untyped-decorator]
def resume_operations() -> int:
    """Send again what no worker works on; returns how many."""
    now = timezone.now()
    waiting = Operation.objects.filter(
        verb="provision", state=Operation.State.QUEUED, created_at__lt=now - UNSENT
    )
    silent = Operation.objects.filter(
        verb="provision", state=Operation.State.RUNNING, updated_at__lt=now - SILENCE
    )
    found = [*waiting, *silent]
    for operation in found:
        provision_tenant.delay(str(operation.id))
    return len(found)


@shared_task(name="tenants.tasks.fill_pools")  # type: ignore[untyped-decorator]
def fill_pools() -> int:
    """Make the spares that are lacking, where the control cell is written; returns how many."""
    lease = leases().get(CONTROL_CELL)
    if lease is None or lease.writer != settings.MERIDIAN_REGION:
        return 0
    tended = lifecycle.fill_pools(actor=f"scheduler:{lease.writer}", progress=_unseen)
    return sum(pool.made for pool in tended)


def _unseen(step: str, percent: int) -> None:
    """Progress that nobody watches."""


@shared_task(name="tenants.tasks.start_tenant_jobs")  # type: ignore[untyped-decorator]
def start_tenant_jobs() -> int:
    """Send the periodic tasks that are due for tenants now; returns how many."""
    return fan_out(current_app.backend.client) if settings.MERIDIAN_TENANT_BEAT else 0


@shared_task(name="tenants.tasks.take_over_tasks")  # type: ignore[untyped-decorator]
def take_over_tasks() -> int:
    """Tell this region of what others left in the cells that it writes; returns how many."""
    return take_over(settings.MERIDIAN_REGION) if settings.MERIDIAN_REGION else 0


@shared_task(name="tenants.tasks.start_drills")  # type: ignore[untyped-decorator]
def start_drills() -> int:
    """Start the drills that are due, where the control cell is written; returns how many."""
    lease = leases().get(CONTROL_CELL)
    if lease is None or lease.writer != settings.MERIDIAN_REGION:
        return 0
    return start_due(timezone.now())


def _take(operation_id: UUID) -> Operation | None:
    """The operation, marked as running; None if another worker has it."""
    using = control_writer_alias()
    with transaction.atomic(using=using):
        operation = (
            Operation.objects.using(using).select_for_update().filter(id=operation_id).first()
        )
        if operation is None or operation.state in (Operation.State.DONE, Operation.State.FAILED):
            return None
        fresh = operation.updated_at > timezone.now() - SILENCE
        if operation.state == Operation.State.RUNNING and fresh:
            return None
        operation.state = Operation.State.RUNNING
        operation.save(using=using, update_fields=["state", "updated_at"])
    return operation


def _report(operation: Operation, **changes: object) -> None:
    for field, value in changes.items():
        setattr(operation, field, value)
    operation.save(using=control_writer_alias(), update_fields=[*changes, "updated_at"])
