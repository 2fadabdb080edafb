"""Tenants: who they are, where they live, and the verbs that an operator may use on them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin import display
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.html import format_html

from console.access import actor, effect
from console.admins.base import ReadOnlyAdmin
from console.limits.views import panel
from console.templatetags.console import state_badge, words
from regions.current import deployment
from regions.errors import RegionsError
from tenants.errors import TenantsError
from tenants.lifecycle import resume, suspend
from tenants.models import AuditEntry, Tenant


class TenantAdmin(ReadOnlyAdmin):
    list_display = ("slug", "mode", "cell", "regions", "residency", "plan", "state_shown", "host")
    list_filter = ("state", "cell__mode", "residency", "plan")
    search_fields = ("slug", "domains__host")
    search_help_text = "Slug or host name"
    fields = (
        "slug",
        "id",
        "state_shown",
        "mode",
        "cell",
        "regions",
        "write_policy",
        "residency",
        "hosts",
        "token_generation",
        "created_at",
    )
    readonly_fields = ("state_shown", "mode", "regions", "write_policy", "hosts")
    change_form_outer_before_template = "console/tenant_actions.html"
    change_form_outer_after_template = "console/tenant_limits.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        tenants: QuerySet[Tenant] = super().get_queryset(request).select_related("cell")
        return tenants.prefetch_related("cell__replicas", "domains")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("tenants.add_tenant"))

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return redirect("console:onboarding")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        tenant = Tenant.objects.select_related("plan").filter(pk=object_id).first()
        slug = tenant.slug if tenant else None
        trail = AuditEntry.objects.filter(subject__in=[slug, f"tenant:{slug}", object_id])[:20]
        may_act = request.user.has_perm("tenants.change_tenant")
        context = {
            "trail": trail,
            "may_act": may_act,
            "limits": panel(tenant) if tenant else None,
        } | (extra_context or {})
        answer: HttpResponse = super().change_view(request, object_id, form_url, context)
        return answer

    @display(description="Mode", ordering="cell__mode")
    def mode(self, tenant: Tenant) -> str:
        return tenant.mode

    @display(description="Regions")
    def regions(self, tenant: Tenant) -> str:
        return ", ".join(tenant.cell.region_names)

    @display(description="Write policy")
    def write_policy(self, tenant: Tenant) -> str:
        return words(tenant.cell.policy)

    @display(description="State", ordering="state")
    def state_shown(self, tenant: Tenant) -> str:
        return state_badge(tenant.state)

    @display(description="Host")
    def host(self, tenant: Tenant) -> str:
        first = next(iter(tenant.domains.all()), None)
        return _link(first.host) if first else "—"

    @display(description="Hosts")
    def hosts(self, tenant: Tenant) -> str:
        return format_html("{}", ", ".join(domain.host for domain in tenant.domains.all()) or "—")


def _link(host: str) -> str:
    return format_html(
        '<a href="http://{}:{}/" rel="noreferrer" class="mc-link">{}</a>',
        host,
        deployment().edge.port,
        host,
    )


@effect("tenants.change_tenant")
def suspend_tenant(request: HttpRequest, slug: str) -> HttpResponse:
    """Stop serving the tenant; its data stays."""
    return _run(request, slug, suspend, "suspended: its hosts answer 403 until it is resumed.")


@effect("tenants.change_tenant")
def resume_tenant(request: HttpRequest, slug: str) -> HttpResponse:
    return _run(request, slug, resume, "active again.")


def _run(request: HttpRequest, slug: str, verb: Any, done: str) -> HttpResponse:
    tenant = get_object_or_404(Tenant, slug=slug)
    try:
        verb(slug, actor=actor(request))
    except (TenantsError, RegionsError) as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, f"{slug} is {done}")
    return redirect("console:tenants_tenant_change", tenant.pk)
