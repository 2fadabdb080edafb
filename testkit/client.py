"""Django's test client for one tenant's host.

Guarantees that requests go through the gateway and find their tenant by the host alone, as in
production: the scope of the test that sends them is no help to them.
"""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.test import Client

from tenants.context import tenant_scope
from tenants.directory import TenantRecord


class TenantClient(Client):
    """`client.tenant` is whose host it asks."""

    def __init__(self, tenant: TenantRecord, **options: Any) -> None:
        headers = {"host": tenant.hosts[0], **(options.pop("headers", None) or {})}
        super().__init__(headers=headers, **options)
        self.tenant = tenant

    def request(self, **request: Any) -> Any:
        with tenant_scope(None):
            return super().request(**request)

    @property
    def session(self) -> SessionBase:
        with tenant_scope(self.tenant):
            return super().session

    def login(self, **credentials: Any) -> bool:
        with tenant_scope(self.tenant):
            return super().login(**credentials)

    def force_login(self, user: Any, backend: str | None = None) -> None:
        """Raises WrongTenantError for another tenant's account."""
        with tenant_scope(self.tenant):
            super().force_login(user, backend)

    def logout(self) -> None:
        with tenant_scope(self.tenant):
            super().logout()
