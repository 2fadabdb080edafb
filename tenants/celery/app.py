"""The Celery application class: whatever is sent through it knows its tenant.

Guarantees that no way of sending (delay, canvas, link, retry, by name, from beat) forgets the
tenant, that a result is read only under the tenant it belongs to, and that neither messages'
descriptions nor logs show arguments.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from celery import Celery
from celery.result import AsyncResult
from celery.utils import uuid
from django.conf import settings

from regions.current import deployment
from tenants.celery import message
from tenants.context import current_tenant_or_none
from tenants.errors import WrongTenantError

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
        the region whose broker takes it; by default one that holds the tenant's data."""
        task_id = options.pop("task_id", None) or uuid()
        headers = {**(options.pop("headers", None) or {}), **message.stamp(name, task_id)}
        region = options.pop("region", None)
        tenant = current_tenant_or_none()
        if region is None and message.TENANT in headers and tenant is not None:
            from tenants.celery.place import queued_in

            region = queued_in(tenant)
        options |= {"task_id": task_id, "headers": headers}
        options |= {"argsrepr": WITHHELD, "kwargsrepr": WITHHELD}
        if region in (None, settings.MERIDIAN_REGION):
            return super().send_task(name, args, kwargs, *more, **options)
        options.pop("producer", None)
        if options.get("queue") in (None, self.conf.task_default_queue):
            options["queue"] = region
        url = deployment().region(region).valkey_url(0)
        with self.connection_for_write(url) as connection:
            return super().send_task(name, args, kwargs, *more, connection=connection, **options)

    @cached_property
    def AsyncResult(self) -> Any:
        return self.subclass_with_self(TenantResult, name="AsyncResult")
