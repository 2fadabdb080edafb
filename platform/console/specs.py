"""The registry's rows as the frozen values that decisions work on."""

from __future__ import annotations

from typing import Any

from django.db.models import Count

from regions.models import Cell
from regions.topology import Topology
from tenants.databases import CONTROL_ALIAS
from tenants.models import Spare, Tenant
from tenants.seams import spec_for


def topology(alias: str = CONTROL_ALIAS, **where: Any) -> Topology:
    """Every cell that has a replica (and is as `where` says), as the control cell knows it now."""
    cells = Cell.objects.using(alias).filter(**where).prefetch_related("replicas")
    specs = [spec_for(cell) for cell in cells]
    return Topology(cells={spec.name: spec for spec in specs if spec.regions})


def tenants_by_cell() -> dict[str, int]:
    """How many tenants each cell has; erased ones don't count."""
    rows = (
        Tenant.objects.exclude(state=Tenant.State.ERASED)
        .order_by()
        .values_list("cell_id")
        .annotate(count=Count("id"))
    )
    return dict(rows)


def spares_by_cell() -> dict[str, int]:
    """How many spares that are ready each cell has; a dedicated one is a spare itself."""
    rows = Spare.objects.filter(state=Spare.State.READY).order_by()
    return dict(rows.values_list("cell_id").annotate(count=Count("id")))


def slugs_by_cell() -> dict[str, tuple[str, ...]]:
    """The tenants of each cell by slug; erased ones are left out."""
    found: dict[str, list[str]] = {}
    rows = Tenant.objects.exclude(state=Tenant.State.ERASED).order_by("slug")
    for cell, slug in rows.values_list("cell_id", "slug"):
        found.setdefault(cell, []).append(slug)
    return {cell: tuple(slugs) for cell, slugs in found.items()}
