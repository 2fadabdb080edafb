"""Schedules of drills: made and removed on the page of drills, or as JSON."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect

from console.access import actor, effect
from console.drills.forms import ScheduleForm
from console.drills.views import leased_cells, show_index, wants_json
from console.pages import UNPROCESSABLE
from regions.errors import RegionsError
from tenants.drill_schedules import document, schedule_drill, unschedule_drill
from tenants.errors import TenantsError


@effect("regions.change_region")
def schedule(request: HttpRequest) -> HttpResponse:
    """Make a schedule, or change the one of that name."""
    form = ScheduleForm(request.POST, cells=leased_cells())
    made: dict[str, Any] | None = None
    if form.is_valid():
        try:
            made = document(schedule_drill(**form.cleaned_data, actor=actor(request)))
        except (RegionsError, TenantsError) as refused:
            form.add_error(None, str(refused))
    if wants_json(request):
        status = 200 if made else UNPROCESSABLE
        return JsonResponse(made or {"errors": form.errors}, status=status)
    if made is None:
        return show_index(request, form, status=UNPROCESSABLE)
    messages.success(request, f"{made['name']} runs by itself now.")
    return redirect("console:drills")


@effect("regions.change_region")
def unschedule(request: HttpRequest, name: str) -> HttpResponse:
    """Safe to repeat."""
    removed = unschedule_drill(name, actor=actor(request))
    if wants_json(request):
        return JsonResponse({"name": name, "removed": removed})
    messages.info(request, f"{name} does not run any more.")
    return redirect("console:drills")
