"""The dashboard: regions, cells and tenants, live, and what happened last."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from console.access import needs
from console.environment import here
from console.live.cells import CellLive
from console.live.diagram import Place, draw
from console.live.regions import RegionLive
from console.live.snapshot import Snapshot, observatory
from console.specs import spares_by_cell, tenants_by_cell, topology
from regions.current import deployment
from regions.topology import Topology
from tenants.databases import CONTROL_ALIAS
from tenants.limits.neighbours import noisy
from tenants.models import AuditEntry, Operation, Tenant
from tenants.spares import pool_documents

LAG_TO_MENTION = 5.0


@needs("regions.view_region")
def live(request: HttpRequest) -> HttpResponse:
    """The part that refreshes itself; 204 when it looks as it did (`seen` is its digest)."""
    html, digest = render_live(request)
    if request.GET.get("seen") == digest:
        return HttpResponse(status=204)
    return HttpResponse(html)


def render_live(request: HttpRequest) -> tuple[str, str]:
    """The live part and its digest: while that stays, nothing on the page moves."""
    known = topology()
    context = _context(observatory().look(deployment(), known, here()), known)
    html = render_to_string("console/live.html", context, request=request)
    digest = hashlib.sha256(html.encode()).hexdigest()[:16]
    return html.replace("seen=DIGEST", f"seen={digest}"), digest


def _context(snapshot: Snapshot, known: Topology) -> dict[str, Any]:
    counts, spares = tenants_by_cell(), spares_by_cell()
    pools = pool_documents(using=CONTROL_ALIAS)
    places = [Place(r.name, r.country, r.jurisdiction, r.state, r.writes) for r in snapshot.regions]
    cells = {spec.name: spec.regions for spec in known.cells.values()}
    return {
        "snapshot": snapshot,
        "diagram": draw(places, cells),
        "cells": [
            (cell, counts.get(cell.name, 0), spares.get(cell.name, 0)) for cell in snapshot.cells
        ],
        "pools": pools,
        "attention": [
            *_region_troubles(snapshot.regions),
            *_cell_troubles(snapshot.cells),
            *_operation_troubles(),
            *_pool_troubles(pools),
            *[("warning", loud.sentence) for loud in noisy(counts)],
        ],
        "regions_up": sum(region.state == "up" for region in snapshot.regions),
        "cells_ok": sum(cell.state == "ok" for cell in snapshot.cells),
        "dead_letters": sum(cell.dead_letters for cell in snapshot.cells),
        "tenants": _tenant_counts(),
        "operations": Operation.objects.all()[:6],
        "decisions": snapshot.decisions[:8],
        "events": AuditEntry.objects.all()[:8],
    }


def _region_troubles(regions: tuple[RegionLive, ...]) -> list[tuple[str, str]]:
    return [
        ("danger" if region.state == "down" else "warning", f"{region.name}: {region.reason}")
        for region in regions
        if region.state != "up"
    ]


def _cell_troubles(cells: tuple[CellLive, ...]) -> list[tuple[str, str]]:
    return [
        (kind, f"Cell {cell.name}: {sentence}")
        for cell in cells
        for kind, sentence in _troubles_of(cell)
    ]


def _troubles_of(cell: CellLive) -> Iterator[tuple[str, str]]:
    if cell.state == "no writer":
        yield "danger", "no writer, so writes wait."
    if cell.problem:
        yield "warning", cell.problem
    elif cell.unknown:
        yield "warning", f"no answer from its replica in {', '.join(cell.unknown)}."
    if cell.dead_letters:
        yield "warning", f"dead letters wait: {cell.dead_letters}."
    if (lag := cell.worst_lag) is not None and lag > LAG_TO_MENTION:
        yield "warning", f"replication lags by {lag:.0f} s."


def _operation_troubles() -> list[tuple[str, str]]:
    failed = Operation.objects.filter(state=Operation.State.FAILED)[:3]
    return [("warning", f"Operation “{op.verb} {op.slug}” failed: {op.error}") for op in failed]


def _pool_troubles(pools: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [
        (
            "warning",
            f"Pool {pool['pool']}: no spare is ready (wanted: {pool['wanted']}). Onboarding works, "
            "but makes its place first.",
        )
        for pool in pools
        if pool["wanted"] and not pool["ready"]
    ]


def _tenant_counts() -> dict[str, Any]:
    living = Tenant.objects.exclude(state=Tenant.State.ERASED).order_by()
    return {
        "total": living.count(),
        "by_mode": list(living.values_list("cell__mode").annotate(count=Count("id"))),
        "by_state": list(living.values_list("state").annotate(count=Count("id"))),
    }
