"""Hands work to Celery through an Operation row, once.

Guarantees that the same key never starts the work twice (double click, reload, repeated POST),
that a task is sent only after its row is committed, and that a queue which does not answer
leaves a failed row with a reason instead of one that waits for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from uuid import UUID

from celery import Task
from django.db import transaction
from django.db.models.functions import Now
from kombu.exceptions import OperationalError

from console.tasks import (
    change_policy,
    empty_region,
    fail_back,
    failover_region,
    move_tenant,
    switch_over,
)
from tenants.models import Operation
from tenants.tasks import provision_tenant

PROVISION = "provision"
FAILOVER = "failover"
SWITCHOVER = "switchover"
EVACUATE = "evacuate"
FAILBACK = "failback"
POLICY = "policy"
MOVE = "move"
TASKS: Mapping[str, Task] = {
    PROVISION: provision_tenant,
    FAILOVER: failover_region,
    SWITCHOVER: switch_over,
    EVACUATE: empty_region,
    FAILBACK: fail_back,
    POLICY: change_policy,
    MOVE: move_tenant,
}


def start(
    key: UUID, verb: str, subject: str, arguments: Mapping[str, Any], *, actor: str
) -> Operation:
    """The operation with this key: made and queued now, or the one that was made before."""
    with transaction.atomic():
        operation, created = Operation.objects.get_or_create(
            id=key,
            defaults={
                "verb": verb,
                "slug": subject,
                "arguments": dict(arguments),
                "actor": actor,
                "step": "Waiting for a worker",
            },
        )
        if created:
            # Its age is told by the database's clock alone.
            Operation.objects.filter(id=key).update(updated_at=Now())
            transaction.on_commit(partial(_send, operation))
    return operation


def retry(operation: Operation) -> bool:
    """Queue a failed operation again; False when it is not in that state (any more)."""
    with transaction.atomic():
        claimed = Operation.objects.filter(id=operation.id, state=Operation.State.FAILED).update(
            state=Operation.State.QUEUED,
            step="Waiting for a worker",
            percent=0,
            error="",
            updated_at=Now(),
        )
        if claimed and operation.verb in TASKS:
            transaction.on_commit(partial(_send, operation))
    return bool(claimed)


def _send(operation: Operation) -> None:
    try:
        TASKS[operation.verb].apply_async(args=[str(operation.id)], retry=False)
    except OperationalError as unreachable:
        Operation.objects.filter(id=operation.id, state=Operation.State.QUEUED).update(
            state=Operation.State.FAILED,
            error=f"The task queue of this region does not answer ({unreachable}). Try again.",
        )
