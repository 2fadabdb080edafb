"""The console's admin site, mounted at /console/.

Guarantees that every page is behind the staff check (`admin_view`, which also enforces CSRF),
and that its index is the dashboard.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from unfold.sites import UnfoldAdminSite

from console import dashboard
from console.admins import places, plans, records, rollouts, tenants
from console.admins.operators import GroupAdmin, OperatorAdmin
from console.conflicts import views as conflicts
from console.drills import schedules
from console.drills import views as drills
from console.emptying import views as emptying
from console.failover import views as failover
from console.limits import views as limits
from console.migrating import views as migrating
from console.moving import views as moving
from console.onboarding import views as onboarding
from console.operations import views as operations
from console.writers import views as writers
from regions.models import Cell, Region
from tenants.models import AuditEntry, Operation, Plan, Tenant
from tenants.rollout.models import Rollout


class ConsoleSite(UnfoldAdminSite):
    """Unfold's site with the console's own pages."""

    settings_name = "UNFOLD_CONSOLE"
    index_template = "console/dashboard.html"
    index_title = "Dashboard"

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        context: dict[str, Any] = {}
        if request.user.has_perm("regions.view_region"):
            context["live"], context["digest"] = dashboard.render_live(request)
        answer: TemplateResponse = super().index(request, context | (extra_context or {}))
        return answer

    def extra_urls(self) -> list[URLPattern]:
        pages = {
            "live/": ("live", dashboard.live),
            "onboarding/": ("onboarding", onboarding.onboard),
            "onboarding/lawful/": ("lawful", onboarding.lawful),
            "operation/<uuid:key>/": ("operation", operations.show),
            "operation/<uuid:key>/progress/": ("progress", operations.progress),
            "operation/<uuid:key>/retry/": ("retry", operations.retry),
            "tenant/<slug:slug>/suspend/": ("suspend", tenants.suspend_tenant),
            "tenant/<slug:slug>/resume/": ("resume", tenants.resume_tenant),
            "tenant/<slug:slug>/move/": ("move", moving.move_tenant),
            "tenant/<slug:slug>/token/": ("token", operations.token),
            "tenant/<slug:slug>/limits/": ("tenant_limits", limits.tenant_limits),
            "tenant/<slug:slug>/conflicts/": ("tenant_conflicts", conflicts.tenant_conflicts),
            "tenant/<slug:slug>/conflicts/<uuid:key>/restore/": (
                "restore_conflict",
                conflicts.restore,
            ),
            "plan/": ("new_plan", limits.edit_plan),
            "plan/<slug:name>/": ("plan", limits.edit_plan),
            "plan/<slug:name>/remove/": ("remove_plan", limits.remove_plan),
            "drills/": ("drills", drills.index),
            "drills/<slug:scenario>/": (
                "drill_preview",
                drills.either(drills.preview, drills.start),
            ),
            "drill-schedule/": ("schedule_drill", schedules.schedule),
            "drill-schedule/<slug:name>/remove/": ("unschedule_drill", schedules.unschedule),
            "drill/<slug:name>/": ("drill", drills.show),
            "drill/<slug:name>/progress/": ("drill_progress", drills.progress),
            "drill/<slug:name>/report/": ("drill_report", drills.report),
            "drill/<slug:name>/halt/": ("halt_drill", drills.halt),
            "migration/<uuid:key>/": ("rollout", migrating.show),
            "migration/<uuid:key>/progress/": ("rollout_progress", migrating.progress),
            "cell/<slug:name>/live/": ("cell_live", places.cell_live),
            "cell/<slug:name>/writer/": ("switchover", writers.switch_over),
            "cell/<slug:name>/policy/": ("policy", writers.change_policy),
            "region/<slug:name>/live/": ("region_live", places.region_live),
            "region/<slug:name>/failover/": ("failover", failover.confirm),
            "region/<slug:name>/evacuate/": ("evacuate", emptying.evacuate),
            "region/<slug:name>/failback/": ("failback", emptying.fail_back),
        }
        return [
            path(route, self.admin_view(view), name=name) for route, (name, view) in pages.items()
        ]


console_site = ConsoleSite(name="console")
console_site.register(Tenant, tenants.TenantAdmin)
console_site.register(Plan, plans.PlanAdmin)
console_site.register(Region, places.RegionAdmin)
console_site.register(Cell, places.CellAdmin)
console_site.register(Operation, records.OperationAdmin)
console_site.register(Rollout, rollouts.RolloutAdmin)
console_site.register(AuditEntry, records.AuditEntryAdmin)
console_site.register(User, OperatorAdmin)
console_site.register(Group, GroupAdmin)
