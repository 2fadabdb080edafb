"""Gives out an API token for a tenant."""

from __future__ import annotations

from django.db import transaction

from tenants import audit, tokens
from tenants.databases import control_writer_alias
from tenants.errors import TenantNotActive
from tenants.models import Tenant
from tenants.seams import find_tenant


def issue_token(slug: str, *, actor: str, revoke_older: bool = False) -> str:
    """The token, which is stored nowhere. `revoke_older` ends all tokens given out before."""
    using = control_writer_alias()
    with transaction.atomic(using=using):
        tenant = find_tenant(slug, using=using)
        if tenant.state not in (Tenant.State.ACTIVE, Tenant.State.SUSPENDED):
            raise TenantNotActive(f"Tenant {slug!r} is {tenant.state}: it gets no token.")
        if revoke_older:
            tenant.token_generation += 1
            tenant.save(using=using, update_fields=["token_generation"])
        audit.record("issue_token", slug, actor=actor, using=using, revoke_older=revoke_older)
    return tokens.issue(tenant)
