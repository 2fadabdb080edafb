"""Whose task a message is: the tenant's id in its headers, signed.

Guarantees that a message works for the tenant that was in scope when it was sent: the signature
binds tenant, task name and task id, so neither a forged message nor one that was re-addressed
is believed. A task is a tenant's unless MERIDIAN_CONTROL_TASKS declares it the control plane's.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from typing import Any
from uuid import UUID

from django.conf import settings

from regions.current import deployment
from tenants.context import current_tenant_or_none
from tenants.errors import NoTenantError, WrongTenantError

TENANT = "meridian_tenant"
SIGNATURE = "meridian_signature"
DEFERRED = "meridian_deferred"
LIMIT = "meridian_limit"
# The task has a row in its tenant's cell: the message only tells of it.
KEPT = "meridian_kept"

# Celery's own: they carry other tasks, and with them their tenant if there is one.
_CARRIERS = "celery.*"


@cache
def is_control(name: str) -> bool:
    """Whether the task works for no tenant."""
    return any(fnmatchcase(name, pattern) for pattern in settings.MERIDIAN_CONTROL_TASKS)


def stamp(name: str, task_id: str) -> dict[str, str]:
    """The headers for a message that is sent now. Raises NoTenantError for a tenant's task."""
    if is_control(name):
        return {}
    tenant = current_tenant_or_none()
    if tenant is None:
        require_tenant(name)
        return {}
    limit = tenant.limits.tasks
    return {
        TENANT: tenant.id.hex,
        SIGNATURE: _sign(name, task_id, tenant.id),
        LIMIT: "" if limit is None else str(limit),
    }


def require_tenant(name: str) -> None:
    """Raises NoTenantError where a task of this name can't be sent or run now."""
    if current_tenant_or_none() is None and not (is_control(name) or fnmatchcase(name, _CARRIERS)):
        raise NoTenantError(
            f"Task {name} works for a tenant, and none is in context: send it inside "
            "`tenant_scope(tenant)`, or list it in MERIDIAN_CONTROL_TASKS if it works for none."
        )


def read(name: str, task_id: str, headers: Mapping[str, Any]) -> UUID | None:
    """The tenant of a message that arrived; None if it has none, rightly. Raises NoTenantError
    or WrongTenantError."""
    text = headers.get(TENANT)
    if is_control(name):
        return None
    if text is None:
        if fnmatchcase(name, _CARRIERS):
            return None
        raise NoTenantError(
            f"Task {name} came without a tenant: send it through this platform's Celery app, "
            "inside `tenant_scope(tenant)`."
        )
    try:
        tenant = UUID(hex=str(text))
    except ValueError:
        raise WrongTenantError(f"Task {name} names no tenant's id: it is refused.") from None
    expected = _sign(name, task_id, tenant)
    if not hmac.compare_digest(expected.encode(), str(headers.get(SIGNATURE)).encode()):
        raise WrongTenantError(
            f"Task {name}[{task_id}] is not signed for the tenant that it names: it was forged, "
            "or sent again for somebody else."
        )
    return tenant


def _sign(name: str, task_id: str, tenant: UUID) -> str:
    claim = f"{tenant.hex}\0{task_id}\0{name}".encode()
    return hmac.digest(deployment().secrets.derive("task"), claim, "sha256").hex()
