"""Limits and usage as commands, the console and the tenant's own API show them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tenants.limits.neighbours import advice_for
from tenants.limits.values import document, resolve
from tenants.models import Plan, Tenant, Usage


def plan_document(plan: Plan) -> dict[str, Any]:
    """None is unlimited."""
    return {"name": plan.name, "limits": document(resolve(plan.limits, {}))}


def limits_document(tenant: Tenant) -> dict[str, Any]:
    """What is in force, and where each number comes from."""
    return {
        "slug": tenant.slug,
        "plan": tenant.plan_id,
        "limits": document(resolve(tenant.plan.limits, tenant.limits)),
        "of_plan": tenant.plan.limits,
        "override": tenant.limits,
    }


def usage_document(tenant: Tenant, *, days: int) -> dict[str, Any]:
    """Day by day (UTC) and region by region, the newest first. `rows`, `bytes` (of
    rows) and `files` (their bytes) are what was held when last measured; None: not measured yet."""
    since = datetime.now(UTC).date() - timedelta(days=days - 1)
    rows = Usage.objects.filter(tenant=tenant, day__gte=since)
    return {
        **limits_document(tenant),
        "days": [
            {
                "day": str(row.day),
                "region": row.region,
                "requests": row.requests,
                "refused": row.refused,
                "busy_ms": row.busy_ms,
                "connections": row.connections,
                "rows": row.rows,
                "bytes": row.bytes,
                "files": row.files,
                "at": row.at.isoformat(),
            }
            for row in rows
        ],
        "advice": advice_for(tenant),
    }
