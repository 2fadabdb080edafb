"""The Celery application class: whatever is sent through it knows its tenant.

Guarantees that no way of sending (delay, canvas, link, retry, by name, from beat) forgets the
tenant, that a transaction sends what it sends exactly if it commits, that a result is read only
under the tenant it belongs to, and that neither messages' descriptions nor logs show arguments.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.result import AsyncResult
from celery.utils import uuid
from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError

from regions.current import deployment
from tenants.celery import message
from tenants.celery.letter import Recorder, publish
from tenants.context import current_tenant_or_none
from tenants.errors import WrongTenantError

if TYPE_CHECKING:
    from tenants.celery.kept import KeptIn

logger = logging.getLogger(__name__)

WITHHELD = "(withheld)"


class TenantResult(AsyncResult):  # type: ignore[misc]
    """A result that remembers whose it is."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        tenant = current_tenant_or_none()
        self._owner = tenant.id if tenant else None

    def _get_task_meta(self) -> Any:
        tenant = current_tenant_or_none()
        if (tenant.id if tenant else None) != self._owner:
            raise WrongTenantError(
                f"The result of task {self.id} belongs to another tenant: read it in the scope "
                "that the task was sent in."
            )
        return super()._get_task_meta()


class TenantCelery(Celery):  # type: ignore[misc]
    """`Celery` for tenants: the same, with nothing to remember."""

    task_cls = "tenants.celery.task:TenantTask"  # by name: it needs Django's apps

    def send_task(
        self, name: str, args: Any = None, kwargs: Any = None, *more: Any, **options: Any
    ) -> Any:
        """As Celery's. Raises NoTenantError for a tenant's task outside a scope. `region` names
        the region whose broker takes it, and nothing else does; by default it is one that holds the
        tenant's data, and the task is kept there until it has ended."""
        task_id = options.pop("task_id", None) or uuid()
        region = options.pop("region", None)
        headers = {**(options.pop("headers", None) or {}), **message.stamp(name, task_id)}
        options |= {"task_id": task_id, "headers": headers}
        options |= {"argsrepr": WITHHELD, "kwargsrepr": WITHHELD}
        tenant = current_tenant_or_none()
        if region is None:
            headers.pop(message.KEPT, None)
            if message.TENANT in headers and tenant is not None:
                from tenants.celery.kept import kept_in
                from tenants.celery.place import queued_in

                there = kept_in(tenant, name)
                if there is not None:
                    return self._send_kept(there, name, args, kwargs, *more, **options)
                region = queued_in(tenant)
        if region in (None, settings.MERIDIAN_REGION):
            return super().send_task(name, args, kwargs, *more, **options)
        options.pop("producer", None)
        if options.get("queue") in (None, self.conf.task_default_queue):
            options["queue"] = region
        url = deployment().region(region).valkey_url(0)
        with self.connection_for_write(url) as connection:
            return super().send_task(name, args, kwargs, *more, connection=connection, **options)

    def _send_kept(self, there: KeptIn, name: str, *arguments: Any, **options: Any) -> Any:
        """The row now, the message after the commit. A broker that does not answer then is told
        later: what is kept is not lost."""
        from tenants.celery.kept import keep

        recorder = Recorder(self)
        options["headers"][message.KEPT] = "1"
        options["producer"] = recorder
        result = super().send_task(name, *arguments, **options)
        queue = None if recorder.queue == self.conf.task_default_queue else recorder.queue
        text = recorder.text()
        keep(there, options["task_id"], name, queue=queue, text=text, due=recorder.due)

        def tell() -> None:
            try:
                publish(self, text, region=there.region, queue=queue)
            except OperationalError as error:
                logger.warning("Task %s[%s] waits for its broker: %s", name, result.id, error)

        transaction.on_commit(tell, using=there.alias)
        return result

    @cached_property
    def AsyncResult(self) -> Any:
        return self.subclass_with_self(TenantResult, name="AsyncResult")
