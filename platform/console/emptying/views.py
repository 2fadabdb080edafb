"""The pages where a region is emptied of writers, and its cells are brought home: first which cells
move where and which stay, then, with the region's name typed, the work is queued once."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from console.access import needs
from console.confirming import Confirmation
from console.emptying.forms import Emptying, Pace
from console.operations import queue
from console.pages import page
from console.specs import slugs_by_cell, topology
from regions.current import deployment
from regions.errors import RegionsError
from regions.failover import emptying
from regions.failover.aside import aside_now
from regions.failover.plan import Plan
from regions.models import Region


@needs("regions.change_region")
def evacuate(request: HttpRequest, name: str) -> HttpResponse:
    """Give every cell that the region writes another writer, without losing a write."""
    region = get_object_or_404(Region, name=name)
    how = Emptying(_asked(request))
    aside = how.is_valid() and how.cleaned_data["aside"]
    command = f"region {'maintenance' if aside else 'drain'} {name}"
    context: dict[str, Any] = {"how": how, "command": command, "plans": [], "problem": ""}
    try:
        context["plans"] = emptying.evacuation(deployment(), topology(), region.name)
    except RegionsError as problem:
        context["problem"] = str(problem)
    # What stands aside needs no writer to move.
    needless = not _movable(context["plans"]) and not aside
    return _page(request, region, queue.EVACUATE, f"Empty {name}", context, needless=needless)


@needs("regions.change_region")
def fail_back(request: HttpRequest, name: str) -> HttpResponse:
    """Give the cells whose home the region is back to it; it stands aside no more."""
    region = get_object_or_404(Region, name=name)
    how = Pace(_asked(request))
    context: dict[str, Any] = {
        "how": how,
        "command": f"region failback --region {name}",
        "plans": [],
        "problem": "",
        "aside": False,
    }
    try:
        context["aside"] = name in aside_now(deployment())
        if context["aside"]:
            context["command"] = f"region maintenance {name} --end; manage.py {context['command']}"
        context["plans"] = emptying.homecoming(
            deployment(), topology(), region.name, returning=True
        )
    except RegionsError as problem:
        context["problem"] = str(problem)
    needless = not _movable(context["plans"]) and not context["aside"]
    return _page(
        request,
        region,
        queue.FAILBACK,
        f"Bring the cells of {name} home",
        context,
        needless=needless,
    )


def _asked(request: HttpRequest) -> dict[str, Any]:
    sent = request.POST if request.method == "POST" else request.GET
    return {"step": Pace.base_fields["step"].initial, **sent.dict()}


def _movable(plans: list[Plan]) -> list[Plan]:
    return [plan for plan in plans if plan.target is not None]


def _page(
    request: HttpRequest,
    region: Region,
    verb: str,
    title: str,
    context: dict[str, Any],
    *,
    needless: bool,
) -> HttpResponse:
    how, form = context["how"], Confirmation(request, name=region.name)
    ready = how.is_valid() and not context["problem"] and not needless
    if form.is_valid() and ready:
        return form.start(verb, {"region": region.name, **how.cleaned_data})
    tenants = slugs_by_cell()
    return page(
        request,
        "console/emptying.html",
        title=title,
        status=form.status,
        form=form,
        region=region,
        verb=verb,
        hidden={key: value for key, value in how.cleaned_data.items() if value} if ready else {},
        ready=ready,
        moves=[(plan, tenants.get(plan.spec.name, ())) for plan in _movable(context["plans"])],
        stays=[
            (plan, tenants.get(plan.spec.name, ()))
            for plan in context["plans"]
            if plan.target is None
        ],
        **context,
    )
