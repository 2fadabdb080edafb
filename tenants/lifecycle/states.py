"""Changing a tenant's state, with its audit row, in one transaction."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from tenants import audit
from tenants.databases import control_writer_alias, together
from tenants.errors import TenantNotActive
from tenants.models import Tenant
from tenants.seams import find_tenant


def change_state(slug: str, state: str, *, verb: str, actor: str, when: tuple[str, ...]) -> Tenant:
    """The tenant in its new state. Raises TenantNotActive unless it is in one of `when`; a
    tenant that is in `state` already stays as it is."""
    using = control_writer_alias()
    with transaction.atomic(using=using):
        tenant = find_tenant(slug, using=using)
        if tenant.state == state:
            return tenant
        if tenant.state not in when:
            raise TenantNotActive(f"Tenant {slug!r} is {tenant.state}: it can't be made {state}.")
        return set_state(tenant, state, verb=verb, actor=actor, using=using)


def set_state(
    tenant: Tenant, state: str, *, verb: str, actor: str, using: str, **detail: Any
) -> Tenant:
    tenant.state = state
    with together(using):
        Tenant.objects.using(using).filter(id=tenant.id).update(state=state)
        audit.record(verb, tenant.slug, actor=actor, using=using, **detail)
    return tenant
