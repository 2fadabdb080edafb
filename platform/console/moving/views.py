"""The page where a tenant is taken to another place: first from where to where, or why not, then,
with the slug typed, the move is queued once."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from console.access import needs
from console.confirming import Confirmation
from console.moving.forms import PlaceChoice
from console.operations import queue
from console.pages import page
from console.specs import tenants_by_cell, topology
from regions.errors import RegionsError
from regions.models import Cell
from regions.topology import CellSpec, TenancyMode
from tenants.errors import TenantsError
from tenants.lifecycle import preview_move
from tenants.models import Tenant


@needs("tenants.change_tenant")
def move_tenant(request: HttpRequest, slug: str) -> HttpResponse:
    """Take the tenant to another cell, or to a lawful one of another mode."""
    tenant = get_object_or_404(Tenant.objects.select_related("cell"), slug=slug)
    to = str(request.POST.get("to") or request.GET.get("to") or "")
    where = {kind: name for kind, _, name in [to.partition(":")] if kind in ("cell", "mode")}
    context: dict[str, Any] = {"refused": "", "plan": None}
    if where:
        try:
            context["plan"] = preview_move(slug, **where)
        except (RegionsError, TenantsError) as refused:
            context["refused"] = str(refused)
    form = Confirmation(request, name=slug)
    if form.is_valid() and context["plan"]:
        return form.start(queue.MOVE, where)
    return page(
        request,
        "console/move.html",
        title=f"Move {slug}",
        status=form.status,
        form=form,
        choice=PlaceChoice(_offered(tenant), to),
        where=where,
        hidden={"to": to},
        command=f"tenant move {slug}"
        + "".join(f" --{kind} {name}" for kind, name in where.items()),
        tenant=tenant,
        **context,
    )


def _offered(tenant: Tenant) -> list[CellSpec]:
    """Cells that are ready and not somebody's own. Which are lawful the preview says."""
    taken = tenants_by_cell()
    return [
        cell
        for cell in topology(state=Cell.State.READY).cells.values()
        if cell.mode is not TenancyMode.CONTROL
        and cell.name != tenant.cell_id
        and not (cell.mode is TenancyMode.DEDICATED and taken.get(cell.name))
    ]
