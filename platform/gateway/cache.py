"""Cache keys know the tenant: two tenants can't read each other's entries."""

from __future__ import annotations

from tenants.context import current_tenant_or_none


def tenant_key(key: str, key_prefix: str, version: int) -> str:
    """Django's KEY_FUNCTION: `t:<tenant id>` inside a scope, `-` only where no tenant is."""
    tenant = current_tenant_or_none()
    owner = f"t:{tenant.id}" if tenant else "-"
    return f"{owner}:{key_prefix}:{version}:{key}"
