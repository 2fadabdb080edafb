"""The list of runs of `cell migrate`."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import display
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from console.admins.base import ReadOnlyAdmin
from console.templatetags.console import state_badge
from tenants.rollout.models import Rollout, RolloutUnit

State = RolloutUnit.State


class RolloutAdmin(ReadOnlyAdmin):
    list_display = ("began", "cells", "state_shown", "done", "not_done", "actor", "reason")
    list_filter = ("state",)
    search_fields = ("actor", "options__cells")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Rollout]:
        done = Q(units__state=State.DONE)
        rows: QuerySet[Rollout] = super().get_queryset(request)
        return rows.annotate(
            done_count=Count("units", filter=done), left_count=Count("units", filter=~done)
        )

    def change_view(
        self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        return redirect("console:rollout", key=object_id)

    @display(description="Began", ordering="created_at")
    def began(self, run: Rollout) -> str:
        return f"{run.created_at:%Y-%m-%d %H:%M:%S} UTC"

    @display(description="Cells")
    def cells(self, run: Rollout) -> str:
        return ", ".join(run.options.get("cells", []))

    @display(description="State", ordering="state")
    def state_shown(self, run: Rollout) -> str:
        return state_badge(run.state)

    @display(description="Done", ordering="done_count")
    def done(self, run: Any) -> int:
        return int(run.done_count)

    @display(description="Not done", ordering="left_count")
    def not_done(self, run: Any) -> int:
        return int(run.left_count)
