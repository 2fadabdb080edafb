"""The base of every task, also of those in apps that know nothing of tenants.

Guarantees that a tenant's task, its callbacks and its result belong to the tenant that was in
scope when it was sent, whatever pool runs it, and that what a worker was refused because another
one has its task is no failure of the task.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import Task
from celery.exceptions import Ignore
from celery.signals import task_postrun, task_prerun, task_revoked
from django.db import Error as DjangoError
from django.db import connections

from regions.cli import one_line
from regions.errors import RegionsError
from tenants.celery import kept, message
from tenants.celery.arrival import Arrival
from tenants.context import tenant_scope
from tenants.errors import TenantsError
from tenants.fencing import is_fenced
from tenants.seams import local_directory

logger = logging.getLogger(__name__)


class TenantTask(Task):  # type: ignore[misc]
    """The Celery app's `task_cls`: apps use `@shared_task` as always."""

    abstract = True
    # What a task returns is as personal as what it is given: neither is logged.
    resultrepr_maxsize = 0

    def apply(self, *args: Any, **options: Any) -> Any:
        """Run it here and now. Raises NoTenantError for a tenant's task without a tenant."""
        message.require_tenant(self.name)
        return super().apply(*args, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.request.called_directly:
            return super().__call__(*args, **kwargs)
        arrival: Arrival | None = self.request.get("meridian_arrival")
        if arrival is not None:
            arrival.admit(self)
        try:
            # The tracer has pushed the request already.
            return self.run(*args, **kwargs)
        except Exception as error:
            if arrival is None or arrival.claim is None or not is_fenced(error):
                raise
            arrival.fenced = True
            logger.warning("Task %s[%s] is somebody else's now", self.name, self.request.id)
            raise Ignore("somebody else's now") from error


def _enter(task: Task, **_: Any) -> None:
    """Callbacks, the next task of a chain and the result are handled after the task's own call:
    the scope has to enclose them too."""
    if not task.request.is_eager:
        task.request.meridian_arrival = Arrival(task)


def _leave(task: Task, state: str | None = None, retval: Any = None, **_: Any) -> None:
    arrival: Arrival | None = task.request.get("meridian_arrival")
    if arrival is not None:
        arrival.leave(task, state, retval)


def _revoked(request: Any, **_: Any) -> None:
    """Revoked, or expired: no worker begins it, so nobody else would say that it has ended."""
    headers = {**(request.headers or {}), **vars(request)}
    if headers.get(message.KEPT) is None:
        return
    try:
        tenant = message.read(request.task, request.id, headers)
        record = local_directory().current().by_id.get(tenant) if tenant else None
        if record is not None:
            with tenant_scope(record):
                kept.drop(request.id)
    except (DjangoError, TenantsError, RegionsError) as error:
        logger.warning("Task %s[%s] stays: %s", request.task, request.id, one_line(error))
    finally:
        # The worker's own process may fork: nobody shares its sessions.
        connections.close_all()


task_prerun.connect(_enter, weak=False, dispatch_uid="meridian.enter")
task_postrun.connect(_leave, weak=False, dispatch_uid="meridian.leave")
task_revoked.connect(_revoked, weak=False, dispatch_uid="meridian.revoked")
