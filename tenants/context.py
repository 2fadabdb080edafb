"""Which tenant is this code working for? One ContextVar, right under threads, asyncio and pools.

There is no default tenant: code that touches tenant data outside a scope gets NoTenantError.
"""

from __future__ import annotations

from collections.abc import Callable
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


# Asked for each row that is read: the variable itself, without a function around it.
current_tenant_or_none: Callable[[], TenantRecord | None] = _current.get


class tenant_scope:
    """Work for `tenant` inside the block (None: for no tenant); restores what was before it."""

    # Entered once a request and more: a class costs half of what a generator does.
    __slots__ = ("_tenant", "_token")

    def __init__(self, tenant: TenantRecord | None) -> None:
        self._tenant = tenant

    def __enter__(self) -> TenantRecord | None:
        self._token = _current.set(self._tenant)
        return self._tenant

    def __exit__(self, *raised: object) -> None:
        _current.reset(self._token)
