"""Makes, changes and removes plans.

Guarantees an audit row for each change, valid limits only, and that a plan which tenants have is
not removed. A change is in force in every region when the map has reached it, within a second.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction

from tenants import audit
from tenants.databases import control_writer_alias
from tenants.errors import InvalidRequest
from tenants.limits.values import changed
from tenants.models import Plan, Tenant
from tenants.placement import check_name


def find_plan(name: str, *, using: str = "default") -> Plan:
    """Raises InvalidRequest, naming those that are there."""
    plan = Plan.objects.using(using).filter(name=name).first()
    if plan is None:
        known = ", ".join(Plan.objects.using(using).values_list("name", flat=True)) or "none"
        raise InvalidRequest(f"No plan is called {name!r}. Plans: {known}.")
    return plan


def save_plan(name: str, changes: Mapping[str, int | str | None], *, actor: str) -> Plan:
    """The plan with the changes made; a new name makes a plan. None lifts a limit."""
    check_name(name, "plan's name")
    using = control_writer_alias()
    with transaction.atomic(using=using):
        plan = Plan.objects.using(using).select_for_update().filter(name=name).first()
        before = dict(plan.limits) if plan else None
        limits = changed(before or {}, changes)
        if name == Plan.DEFAULT and any(value is not None for value in limits.values()):
            raise InvalidRequest(f"The plan {name!r} limits nothing: make another one.")
        after = {limit: value for limit, value in limits.items() if value is not None}
        if plan is not None and after == before:
            return plan
        plan = plan or Plan(name=name)
        plan.limits = after
        plan.save(using=using)
        audit.record("set_plan", name, actor=actor, using=using, before=before, after=after)
    return plan


def delete_plan(name: str, *, actor: str) -> Plan:
    """Raises InvalidRequest when tenants have it, or when it is the one that new ones get."""
    using = control_writer_alias()
    if name == Plan.DEFAULT:
        raise InvalidRequest(f"{name!r} is what tenants have without another plan: it stays.")
    with transaction.atomic(using=using):
        plan = find_plan(name, using=using)
        holders = Tenant.objects.using(using).filter(plan=plan)
        if holders.exists():
            raise InvalidRequest(
                f"{holders.count()} tenants have the plan {name!r}: give them another one first."
            )
        audit.record("delete_plan", name, actor=actor, using=using, before=plan.limits)
        plan.delete(using=using)
    return Plan(name=name, limits=plan.limits)
