"""The pages where a cell's writer is moved, or its write policy changed: first what would happen
and who would go dark, then, with the cell's name typed, the work is queued once."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from console.access import needs
from console.confirming import Confirmation
from console.environment import here
from console.live.snapshot import observatory
from console.operations import queue
from console.pages import page
from console.specs import slugs_by_cell, topology
from console.writers.forms import PolicyChoice, TargetChoice
from regions.current import deployment
from regions.errors import RegionsError
from regions.failover.plan import plan_switchover
from regions.models import Cell
from regions.topology import WritePolicy
from tenants.errors import TenantsError
from tenants.lifecycle.set_policy import preview
from tenants.seams import spec_for


@needs("regions.change_cell")
def switch_over(request: HttpRequest, name: str) -> HttpResponse:
    """Move the cell's writer to another of its regions."""
    spec = spec_for(get_object_or_404(Cell, name=name))
    known = topology()
    to = str(request.POST.get("to") or request.GET.get("to") or spec.regions[-1])
    context: dict[str, Any] = {"refused": "", "plan": None, "choice": TargetChoice(spec, to)}
    context["hidden"] = {"to": to}
    context["command"] = f"region switchover {name} --to {to}"
    try:
        context["plan"] = plan = plan_switchover(deployment(), known, name, to)
        if to not in observatory().look(deployment(), known, here()).up:
            context["refused"] = f"{to} does not answer."
        elif plan.source == to:
            context["refused"] = plan.reason
    except (RegionsError, TenantsError) as refused:
        context["refused"] = str(refused)
    return _confirmed(
        request,
        name,
        "console/switchover.html",
        f"Move the writer of {name}",
        queue.SWITCHOVER,
        context,
    )


@needs("regions.change_cell")
def change_policy(request: HttpRequest, name: str) -> HttpResponse:
    """Give the cell another write policy or timetable."""
    spec = spec_for(get_object_or_404(Cell, name=name))
    chosen = {"policy": spec.policy.value, "timetable": spec.timetable}
    chosen |= {key: str(value) for key, value in request.GET.items() if key in chosen}
    chosen |= {key: str(value) for key, value in request.POST.items() if key in chosen}
    context: dict[str, Any] = {"refused": "", "change": None, "choice": PolicyChoice(chosen)}
    policy = chosen["policy"]
    timetable = chosen["timetable"] if policy == WritePolicy.FOLLOW_THE_SUN else ""
    try:
        context["change"] = change = preview(name, policy=policy, timetable=timetable)
        context["refused"] = change.refused or ""
    except (RegionsError, TenantsError) as refused:
        context["refused"] = str(refused)
    context["nothing"] = (spec.policy, spec.timetable) == (policy, timetable)
    context["hidden"] = {"policy": policy, "timetable": timetable}
    context["command"] = f"cell policy {name} --to {policy}"
    if timetable:
        context["command"] += f' --timetable "{timetable}"'
    return _confirmed(
        request,
        name,
        "console/policy.html",
        f"Write policy of {name}",
        queue.POLICY,
        context,
    )


def _confirmed(
    request: HttpRequest,
    cell: str,
    template: str,
    title: str,
    verb: str,
    context: dict[str, Any],
) -> HttpResponse:
    form = Confirmation(request, name=cell)
    if form.is_valid() and not context["refused"]:
        return form.start(verb, {"cell": cell, **context["hidden"]})
    tenants = slugs_by_cell().get(cell, ())
    return page(
        request,
        template,
        title=title,
        status=form.status,
        form=form,
        cell=cell,
        tenants=tenants,
        **context,
    )
