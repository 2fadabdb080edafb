"""Gives a tenant a plan, and limits of its own beside it, with an audit row."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction

from tenants import audit
from tenants.databases import control_writer_alias
from tenants.errors import TenantNotActive
from tenants.limits.plans import find_plan
from tenants.limits.values import changed
from tenants.models import Tenant
from tenants.seams import find_tenant


def assign(
    slug: str,
    *,
    plan: str | None = None,
    changes: Mapping[str, int | str | None] | None = None,
    actor: str,
) -> Tenant:
    """The tenant with its new plan and overrides: None lifts a limit, `plan` takes an override
    away. Raises UnknownTenant, InvalidRequest or TenantNotActive before anything is changed."""
    using = control_writer_alias()
    with transaction.atomic(using=using):
        tenant = find_tenant(slug, using=using)
        if tenant.state == Tenant.State.ERASED:
            raise TenantNotActive(f"Tenant {slug!r} is erased.")
        row = Tenant.objects.using(using).select_for_update().get(id=tenant.id)
        before = {"plan": row.plan_id, "limits": row.limits}
        if plan is not None:
            row.plan = find_plan(plan, using=using)
        row.limits = changed(row.limits, changes or {})
        after = {"plan": row.plan_id, "limits": row.limits}
        if after != before:
            row.save(using=using, update_fields=["plan", "limits"])
            audit.record("set_limits", slug, actor=actor, using=using, before=before, after=after)
    return find_tenant(slug, using=using)
