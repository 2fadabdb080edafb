"""Plans: limits under a name, with how many tenants have each."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import display
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from console.admins.base import ReadOnlyAdmin
from console.limits.picture import show
from tenants.models import Plan


class PlanAdmin(ReadOnlyAdmin):
    list_display = (
        "name",
        "requests",
        "at_once",
        "connections",
        "statement",
        "rows",
        "storage",
        "tasks",
        "held",
    )
    search_fields = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        plans: QuerySet[Plan] = super().get_queryset(request)
        return plans.annotate(holders=Count("tenants"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("tenants.change_plan"))

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return redirect("console:new_plan")

    def change_view(
        self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        return redirect("console:plan", object_id)

    @display(description="Requests a minute")
    def requests(self, plan: Plan) -> str:
        return _shown(plan, "requests_per_minute")

    @display(description="At the same time")
    def at_once(self, plan: Plan) -> str:
        return _shown(plan, "concurrent_requests")

    @display(description="Connections")
    def connections(self, plan: Plan) -> str:
        return _shown(plan, "connections")

    @display(description="Longest statement")
    def statement(self, plan: Plan) -> str:
        return _shown(plan, "statement_ms")

    @display(description="Rows")
    def rows(self, plan: Plan) -> str:
        return _shown(plan, "rows")

    @display(description="Storage")
    def storage(self, plan: Plan) -> str:
        return _shown(plan, "bytes")

    @display(description="Tasks")
    def tasks(self, plan: Plan) -> str:
        return _shown(plan, "tasks")

    @display(description="Tenants")
    def held(self, plan: Any) -> int:
        holders: int = plan.holders
        return holders


def _shown(plan: Plan, name: str) -> str:
    return show(name, plan.limits.get(name))
