"""Whom something belongs to, and whether it may be used now."""

from __future__ import annotations

from functools import cache
from uuid import UUID

from django.db import models

from tenants.context import current_tenant_or_none
from tenants.errors import NoTenantError, WrongTenantError
from tenants.isolation.catalog import REFERENCE_TABLES
from tenants.labels import tenant_labels


@cache
def is_guarded(model: type[models.Model]) -> bool:
    """Whether its rows are tenants' own. Content types and permissions are part of the code: the
    same under every tenant, so what is kept of them may be used under all."""
    options = model._meta
    return options.app_label in tenant_labels() and options.db_table not in REFERENCE_TABLES


def in_scope() -> UUID | None:
    """The id of the tenant in scope, if there is one."""
    tenant = current_tenant_or_none()
    return None if tenant is None else tenant.id


def require(owner: UUID | None, what: str) -> None:
    """Raises NoTenantError or WrongTenantError unless `owner` is in scope (None: nobody's, the
    platform's own)."""
    tenant = current_tenant_or_none()
    found = None if tenant is None else tenant.id
    if found is owner or found == owner:  # mostly it is the very object, which is soon seen
        return
    if tenant is None:
        raise NoTenantError(
            f"{what} belongs to tenant {owner}, and no tenant is in context: use it inside the "
            "`tenant_scope(tenant)` that it came from."
        )
    belongs = f"tenant {owner}" if owner else "the platform, and to no tenant"
    raise WrongTenantError(
        f"{what} belongs to {belongs}, but {tenant.slug!r} ({tenant.id}) is in context: read it "
        "again in this scope, and keep nothing of one tenant for another (a global, a cache with "
        "a key function of its own)."
    )
