"""Which tenant is this code working for? One ContextVar, right under threads, asyncio and pools.

There is no default tenant: code that touches tenant data outside a scope gets NoTenantError.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tenants.directory import TenantRecord
from tenants.errors import NoTenantError

_current: ContextVar[TenantRecord | None] = ContextVar("meridian_tenant", default=None)


def current_tenant() -> TenantRecord:
    """The tenant in context. Raises NoTenantError when there is none."""
    tenant = _current.get()
    if tenant is None:
        raise NoTenantError(
            "No tenant is in context: wrap the code in `tenant_scope(tenant)` or run it through "
            "`manage.py tenant exec`."
        )
    return tenant


def current_tenant_or_none() -> TenantRecord | None:
    return _current.get()


@contextmanager
def tenant_scope(tenant: TenantRecord | None) -> Iterator[TenantRecord | None]:
    """Work for `tenant` inside the block (None: for no tenant); restores what was before it."""
    token = _current.set(tenant)
    try:
        yield tenant
    finally:
        _current.reset(token)
