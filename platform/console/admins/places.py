"""Regions and cells: the rows, and beside them what is true right now."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import display
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from console.access import needs
from console.admins.base import ReadOnlyAdmin
from console.environment import here
from console.live.snapshot import Snapshot, observatory
from console.specs import spares_by_cell, tenants_by_cell, topology
from console.templatetags.console import state_badge, words
from regions.current import deployment
from regions.models import Cell, Region
from tenants.models import AuditEntry

DECISIONS = 12  # of a cell's agents, on its page


def look() -> Snapshot:
    return observatory().look(deployment(), topology(), here())


class CellAdmin(ReadOnlyAdmin):
    list_display = ("name", "mode", "policy_shown", "regions", "tenants", "spares", "state_shown")
    list_filter = ("mode", "policy", "state")
    search_fields = ("name",)
    fields = (
        "name",
        "mode",
        "policy_shown",
        "timetable",
        "regions",
        "database",
        "state_shown",
        "created_at",
    )
    readonly_fields = ("policy_shown", "regions", "database", "state_shown")
    change_form_outer_before_template = "console/cell_panel.html"
    change_form_outer_after_template = "console/audit_trail.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Cell]:
        self._tenants, self._spares = tenants_by_cell(), spares_by_cell()
        rows: QuerySet[Cell] = super().get_queryset(request)
        return rows.prefetch_related("replicas")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context: dict[str, Any] = {
            "trail": audit_of("cell", object_id),
            **_live(object_id),
            "may_change": request.user.has_perm("regions.change_cell"),
        }
        answer: HttpResponse = super().change_view(
            request, object_id, form_url, context | (extra_context or {})
        )
        return answer

    @display(description="Write policy", ordering="policy")
    def policy_shown(self, cell: Cell) -> str:
        return words(cell.policy)

    @display(description="Regions (home first)")
    def regions(self, cell: Cell) -> str:
        return ", ".join(cell.region_names)

    @display(description="Tenants")
    def tenants(self, cell: Cell) -> int:
        return self._tenants.get(cell.name, 0)

    @display(description="Spares")
    def spares(self, cell: Cell) -> int | None:
        """None where there can't be any."""
        return None if cell.mode == Cell.Mode.SHARED else self._spares.get(cell.name, 0)

    @display(description="State", ordering="state")
    def state_shown(self, cell: Cell) -> str:
        return state_badge(cell.state)


class RegionAdmin(ReadOnlyAdmin):
    list_display = ("name", "country", "jurisdiction", "node", "cells", "state_shown")
    list_filter = ("jurisdiction", "state")
    search_fields = ("name", "country")
    fields = ("name", "country", "jurisdiction", "node", "cells", "state_shown")
    readonly_fields = ("cells", "state_shown")
    change_form_outer_before_template = "console/region_panel.html"
    change_form_outer_after_template = "console/audit_trail.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Region]:
        rows: QuerySet[Region] = super().get_queryset(request)
        return rows.prefetch_related("replicas")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context: dict[str, Any] = {
            "trail": audit_of("region", object_id),
            "region": look().region(object_id),
            "may_fail_over": request.user.has_perm("regions.change_region"),
        }
        answer: HttpResponse = super().change_view(
            request, object_id, form_url, context | (extra_context or {})
        )
        return answer

    @display(description="Cells")
    def cells(self, region: Region) -> str:
        return ", ".join(replica.cell_id for replica in region.replicas.all()) or "—"

    @display(description="Intended state", ordering="state")
    def state_shown(self, region: Region) -> str:
        return state_badge(region.state)


@needs("regions.view_cell")
def cell_live(request: HttpRequest, name: str) -> HttpResponse:
    """The live panel of a cell's page."""
    get_object_or_404(Cell, name=name)
    return render(request, "console/cell_live.html", _live(name))


def _live(name: str) -> dict[str, Any]:
    snapshot = look()
    return {"cell": snapshot.cell(name), "decisions": snapshot.decided(name)[:DECISIONS]}


@needs("regions.view_region")
def region_live(request: HttpRequest, name: str) -> HttpResponse:
    """The live panel of a region's page."""
    get_object_or_404(Region, name=name)
    return render(request, "console/region_live.html", {"region": look().region(name)})


def audit_of(kind: str, name: str) -> QuerySet[AuditEntry]:
    """The newest audit entries about one subject."""
    return AuditEntry.objects.filter(subject__in=[name, f"{kind}:{name}"])[:20]
