"""Tasks that work for a tenant: the context travels in the message's headers.

Guarantees that a tenant task runs for the tenant that was in scope when it was sent, and is
refused when there was none. The scope is the call's, not the task object's: right in every pool.
"""

from __future__ import annotations

from typing import Any

from celery import Task

from tenants.context import current_tenant, tenant_scope
from tenants.directory import TenantRecord
from tenants.errors import NoTenantError, TenantNotActive, UnknownTenant
from tenants.seams import local_directory

HEADER = "meridian_tenant"


class TenantTask(Task):  # type: ignore[misc]
    """`@shared_task(base=TenantTask)`"""

    abstract = True

    def apply_async(self, args: Any = None, kwargs: Any = None, *more: Any, **options: Any) -> Any:
        """Send it for the tenant in scope. Raises NoTenantError when there is none."""
        headers = {**(options.pop("headers", None) or {}), HEADER: current_tenant().slug}
        return super().apply_async(args, kwargs, *more, headers=headers, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with tenant_scope(self._tenant()):
            return super().__call__(*args, **kwargs)

    def _tenant(self) -> TenantRecord:
        if self.request.called_directly:
            return current_tenant()
        slug = self.request.get(HEADER) or (self.request.headers or {}).get(HEADER)
        if slug is None:
            raise NoTenantError(
                f"Task {self.name} came without a tenant: send it with delay() or apply_async() "
                "inside `tenant_scope(tenant)`."
            )
        record = local_directory().current().by_slug.get(slug)
        if record is None:
            raise UnknownTenant(f"Task {self.name} is for {slug!r}, which this region lacks.")
        if record.state != "active":
            raise TenantNotActive(f"Task {self.name} is for {slug!r}, which is {record.state}.")
        return record
