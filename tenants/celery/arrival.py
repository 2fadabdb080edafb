"""A message that a worker has taken: whose it is, whether it may run here now, and how it ended.

Guarantees that it runs in the region that writes the tenant's cell, that while the tenant moves
it waits instead of failing, and that a kept task runs in one worker at a time, whose writes are
refused once another one has begun it.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import ExitStack
from typing import Any
from uuid import UUID

from celery import Task
from celery.exceptions import Ignore
from celery.states import REJECTED, RETRY
from django.conf import settings
from django.db import Error as DjangoError
from kombu.exceptions import OperationalError

from regions.cli import one_line
from tenants.celery import kept, message
from tenants.celery.claims import Action, Decision
from tenants.celery.place import runs_in
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.errors import TenantNotActive, TenantsError, UnknownTenant
from tenants.fencing import Claim, fenced_by
from tenants.limits.connections import holders
from tenants.seams import local_directory
from tenants.work import label, working_on

logger = logging.getLogger(__name__)

# Between two looks at a tenant that is moving, or at a cell whose writer is being chosen.
DEFER_SECONDS = 2.0
# A tenant that another region knows already may be unknown here for a moment.
UNKNOWN_LOOKS = 5


class Arrival:
    """`refusal`, `wait`, `region`: why it may not run here now. `claim`: this worker's on it."""

    def __init__(self, task: Task) -> None:
        self.tenant: TenantRecord | None = None
        self.refusal: TenantsError | None = None
        self.wait: str | None = None
        self.region: str | None = None
        self.claim: Claim | None = None
        self.fenced = False
        request = task.request
        headers = {**(request.headers or {}), **vars(request)}
        self.looks = int(headers.get(message.DEFERRED) or 0)
        self.kept = headers.get(message.KEPT) is not None
        try:
            self._look_up(task.name, message.read(task.name, request.id, headers))
        except TenantsError as error:
            self.refusal = error
        named = label("task", task.name)
        self._scope = ExitStack()
        self._scope.enter_context(tenant_scope(self.tenant))
        self._scope.enter_context(working_on(lambda: named))

    def leave(self, task: Task, state: str | None, outcome: Any) -> None:
        """`state` None: the worker ends in the midst of it; the message comes again."""
        with self._scope:
            # Its callbacks may have failed to be sent: then there is an error under way.
            if sys.exc_info()[0] is not None or state is None or self.fenced:
                return
            with fenced_by(None):
                try:
                    self._settle(task, state, outcome)
                except DjangoError as error:
                    said = one_line(error)
                    logger.warning("Task %s[%s] runs again: %s", task.name, task.request.id, said)

    def _settle(self, task: Task, state: str, outcome: Any) -> None:
        if self.claim is None:
            if self.kept and isinstance(self.refusal, TenantNotActive):
                kept.drop(task.request.id)
        elif state == REJECTED and outcome.requeue:
            kept.give_back(self.claim)
        elif state != RETRY or outcome.sig is None:
            kept.end(self.claim)
        elif kept.holds(self.claim):
            # What it sent to be tried again was rolled back with its transaction.
            with fenced_by(self.claim):
                outcome.sig.apply_async()

    def admit(self, task: Task) -> None:
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
        elif self.kept:
            self._begin(task)

    def _begin(self, task: Task) -> None:
        request = task.request
        try:
            begun = kept.begin(
                request.id,
                letter=request.properties["delivery_tag"],
                redelivered=bool((request.delivery_info or {}).get("redelivered")),
                worker=f"{request.hostname} {os.getpid()}",
                patience=task.app.conf.broker_transport_options["visibility_timeout"],
            )
        except DjangoError as error:
            self.wait = f"its cell can't be written: {one_line(error)}"
            self._send_again(task, region=settings.MERIDIAN_REGION, countdown=DEFER_SECONDS)
            return
        if isinstance(begun, Decision):
            parked = begun.action is Action.PARK
            level = logging.ERROR if parked else logging.INFO
            what = "is parked" if parked else "is not begun"
            logger.log(level, "Task %s[%s] %s: %s", task.name, request.id, what, begun.reason)
            raise Ignore(begun.reason)
        self.claim = begun
        self._scope.enter_context(fenced_by(begun))

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

    def _send_again(self, task: Task, **how: Any) -> None:
        """The same task: same id, retries, callbacks and chord. The copy is in a broker before
        this message is acknowledged, so nothing is lost."""
        request = task.request
        options = request.as_execution_options()
        headers = {**(options.pop("headers", None) or {}), message.DEFERRED: self.looks + 1}
        headers |= {message.KEPT: "1"} if self.kept else {}
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
