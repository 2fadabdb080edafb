"""The base of every task, also of those in apps that know nothing of tenants.

Guarantees that a tenant's task, its callbacks and its result belong to the tenant that was in
scope when it was sent, whatever pool runs it; that it runs in the region that writes the
tenant's cell; and that while the tenant moves it waits instead of failing.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Any
from uuid import UUID

from celery import Task
from celery.exceptions import Ignore
from celery.signals import task_postrun, task_prerun
from django.conf import settings
from kombu.exceptions import OperationalError

from tenants.celery import message
from tenants.celery.place import runs_in
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.errors import TenantNotActive, TenantsError, UnknownTenant
from tenants.limits.connections import holders
from tenants.seams import local_directory
from tenants.work import label, working_on

logger = logging.getLogger(__name__)

# Between two looks at a tenant that is moving, or at a cell whose writer is being chosen.
DEFER_SECONDS = 2.0
# A tenant that another region knows already may be unknown here for a moment.
UNKNOWN_LOOKS = 5


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
        # The tracer has pushed the request already.
        return self.run(*args, **kwargs)


class Arrival:
    """A message that a worker has taken: whose it is, and why it may not run."""

    def __init__(self, task: Task) -> None:
        self.tenant: TenantRecord | None = None
        self.refusal: TenantsError | None = None
        self.wait: str | None = None
        self.region: str | None = None
        request = task.request
        headers = {**(request.headers or {}), **vars(request)}
        self.looks = int(headers.get(message.DEFERRED) or 0)
        try:
            self._look_up(task.name, message.read(task.name, request.id, headers))
        except TenantsError as error:
            self.refusal = error
        named = label("task", task.name)
        self._scope = ExitStack()
        self._scope.enter_context(tenant_scope(self.tenant))
        self._scope.enter_context(working_on(lambda: named))

    def leave(self) -> None:
        self._scope.close()

    def admit(self, task: TenantTask) -> None:
        """Return if the task may run here now. Else raises the refusal, or Ignore after the
        message was sent on."""
        if self.refusal is not None:
            raise self.refusal
        if self.wait is not None:
            self._send_again(task, region=settings.MERIDIAN_REGION, countdown=DEFER_SECONDS)
        elif self.region is not None:
            try:
                self._send_again(task, region=self.region)
            except OperationalError:
                self.wait = f"the broker of {self.region} does not answer"
                self._send_again(task, region=settings.MERIDIAN_REGION, countdown=DEFER_SECONDS)

    def _look_up(self, name: str, tenant_id: Any) -> None:
        if tenant_id is None:
            return
        record = local_directory().current().by_id.get(tenant_id)
        if record is None:
            if self.looks >= UNKNOWN_LOOKS:
                raise UnknownTenant(f"Task {name} is for {tenant_id}, which this region lacks.")
            record = _unknown(tenant_id)
            self.wait = "unknown here"
        self.tenant = record
        if self.wait is not None or record.state == "moving":
            self.wait = self.wait or "moving"
        elif record.state != "active":
            raise TenantNotActive(f"Task {name} is for {record.slug!r}, which is {record.state}.")
        else:
            place = runs_in(record)
            if place.region is None:
                self.wait = place.reason
            elif place.region != settings.MERIDIAN_REGION:
                self.region = place.region
            elif holders().full(record):
                self.wait = "the tenant has all of its connections in use"

    def _send_again(self, task: TenantTask, **how: Any) -> None:
        """The same task: same id, retries, callbacks and chord. The copy is in a broker before
        this message is acknowledged, so nothing is lost."""
        request = task.request
        options = request.as_execution_options()
        headers = {**(options.pop("headers", None) or {}), message.DEFERRED: self.looks + 1}
        options["queue"] = (request.delivery_info or {}).get("routing_key")
        task.app.send_task(
            task.name,
            request.args,
            request.kwargs,
            task_type=task,
            headers=headers,
            add_to_parent=False,
            ignore_result=request.ignore_result,
            **{name: value for name, value in options.items() if value is not None},
            **how,
        )
        reason = self.wait or f"runs in {self.region}"
        logger.info("Task %s[%s] is sent on: %s", task.name, request.id, reason)
        raise Ignore(reason)


def _unknown(tenant_id: UUID) -> TenantRecord:
    """Whose the next message is, known here or not."""
    return TenantRecord(
        id=tenant_id,
        slug="unknown",
        cell="",
        mode="",
        schema="",
        state="unknown",
        residency="",
        token_generation=0,
        hosts=(),
    )


def _enter(task: Task, **_: Any) -> None:
    """Callbacks, the next task of a chain and the result are handled after the task's own call:
    the scope has to enclose them too."""
    if not task.request.is_eager:
        task.request.meridian_arrival = Arrival(task)


def _leave(task: Task, **_: Any) -> None:
    arrival: Arrival | None = task.request.get("meridian_arrival")
    if arrival is not None:
        arrival.leave()


task_prerun.connect(_enter, weak=False, dispatch_uid="meridian.enter")
task_postrun.connect(_leave, weak=False, dispatch_uid="meridian.leave")
