"""The pages that change limits, and what a tenant's page shows of them."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse

from console.access import actor, effect, needs
from console.limits.forms import PlanForm, TenantLimitsForm
from console.limits.picture import Day, bars, columns, limit_lines
from console.pages import UNPROCESSABLE, page
from regions.errors import RegionsError
from tenants.errors import TenantsError
from tenants.limits.assign import assign
from tenants.limits.neighbours import advice_for
from tenants.limits.plans import delete_plan, save_plan
from tenants.limits.values import resolve
from tenants.models import Plan, Tenant, Usage

DAYS = 14


def panel(tenant: Tenant) -> dict[str, Any]:
    """What `console/tenant_limits.html` shows."""
    today = datetime.now(UTC).date()
    rows = Usage.objects.filter(tenant=tenant, day__gt=today - timedelta(days=DAYS))
    days = [Day(**values) for values in rows.values(*(field.name for field in fields(Day)))]
    limits = resolve(tenant.plan.limits, tenant.limits)
    return {
        "plan": tenant.plan_id,
        "lines": limit_lines(limits, tenant.limits),
        "bars": bars(days, limits),
        "columns": columns(days, today, number=DAYS),
        "today": [day for day in days if day.day == today],
        "advice": advice_for(tenant),
    }


@needs("tenants.change_tenant")
def tenant_limits(request: HttpRequest, slug: str) -> HttpResponse:
    """Give a tenant a plan and limits of its own."""
    tenant = get_object_or_404(Tenant.objects.select_related("plan"), slug=slug)
    form = TenantLimitsForm(request.POST or None, plan=tenant.plan.name, override=tenant.limits)
    if request.method == "POST" and form.is_valid():
        try:
            assign(
                slug,
                plan=form.cleaned_data["plan"],
                changes=form.changes(),
                actor=actor(request),
            )
        except (TenantsError, RegionsError) as refused:
            messages.error(request, str(refused))
        else:
            messages.success(request, f"{slug} has these limits in every region in a second.")
            return redirect("console:tenants_tenant_change", tenant.pk)
    return _form(request, f"Limits of {slug}", form, back=("tenants_tenant_change", tenant.pk))


@needs("tenants.change_plan")
def edit_plan(request: HttpRequest, name: str | None = None) -> HttpResponse:
    """Make a plan, or change one for all tenants that have it."""
    known = get_object_or_404(Plan, name=name) if name else None
    form = PlanForm(request.POST or None, known=known)
    if request.method == "POST" and form.is_valid():
        try:
            save_plan(form.cleaned_data["name"], form.changes(), actor=actor(request))
        except (TenantsError, RegionsError) as refused:
            messages.error(request, str(refused))
        else:
            messages.success(request, "The plan is in force in every region in a second.")
            return redirect("console:tenants_plan_changelist")
    title = f"Plan {name}" if name else "A new plan"
    removable = known is not None and known.name != Plan.DEFAULT
    return _form(
        request,
        title,
        form,
        back=("tenants_plan_changelist",),
        holders=known.tenants.count() if known else 0,
        removable=known.name if known and removable else None,
    )


@effect("tenants.delete_plan")
def remove_plan(request: HttpRequest, name: str) -> HttpResponse:
    try:
        delete_plan(name, actor=actor(request))
    except (TenantsError, RegionsError) as refused:
        messages.error(request, str(refused))
        return redirect("console:plan", name)
    messages.success(request, f"The plan {name} is gone.")
    return redirect("console:tenants_plan_changelist")


def _form(
    request: HttpRequest, title: str, form: Any, *, back: tuple[Any, ...], **context: Any
) -> HttpResponse:
    status = UNPROCESSABLE if form.errors else 200
    route, *arguments = back
    return page(
        request,
        "console/limits_form.html",
        title=title,
        status=status,
        form=form,
        back_url=reverse(f"console:{route}", args=arguments),
        **context,
    )
