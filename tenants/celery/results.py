"""Results of tasks in Valkey, under keys that name the tenant.

Guarantees that the id of another tenant's task leads to nothing.
"""

from __future__ import annotations

from typing import Any

from celery.backends.redis import RedisBackend

from tenants.context import current_tenant_or_none


class TenantBackend(RedisBackend):  # type: ignore[misc]
    """`t:<tenant id>:` before a tenant's keys, `-:` before those of no tenant."""

    def _get_key_for(self, prefix: Any, id: Any, key: Any = "") -> Any:
        return self.key_t(_owner()) + super()._get_key_for(prefix, id, key)

    def _strip_prefix(self, key: Any) -> Any:
        return super()._strip_prefix(self.key_t(key).removeprefix(self.key_t(_owner())))


def _owner() -> str:
    tenant = current_tenant_or_none()
    return f"t:{tenant.id}:" if tenant else "-:"
