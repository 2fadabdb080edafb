"""Who takes most of a cell, and what an operator can do about it.

Guarantees a proposal only where others suffer: a cell that tenants share, and a share of its
work that is most of it. The decision is pure; numbers come from the control cell's usage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Sum

from tenants.models import Tenant, Usage

MOST = 0.5
WORTH_MENTIONING_MS = 10_000


@dataclass(frozen=True, slots=True)
class Loud:
    """`share` (0 to 1) of the time that `cell` spent on answering today."""

    slug: str
    cell: str
    share: float

    @property
    def sentence(self) -> str:
        return (
            f"{self.slug} takes {self.share:.0%} of the work of cell {self.cell}: consider "
            f"`tenant move {self.slug} --mode dedicated`, or a smaller plan."
        )


def loudest(cell: str, busy_ms: Mapping[str, int], *, tenants: int) -> Loud | None:
    """The tenant that takes most of the cell, if one does and it is not alone there."""
    whole = sum(busy_ms.values())
    if tenants < 2 or whole < WORTH_MENTIONING_MS:
        return None
    slug = max(busy_ms, key=lambda name: busy_ms[name])
    share = busy_ms[slug] / whole
    return Loud(slug, cell, share) if share > MOST else None


def noisy(tenants_by_cell: Mapping[str, int]) -> list[Loud]:
    """In every cell that tenants share, as counted today (UTC) in all its regions."""
    counted = (
        Usage.objects.filter(
            day=datetime.now(UTC).date(), tenant__cell__mode__in=("shared", "schema")
        )
        .order_by("tenant__cell_id")
        .values_list("tenant__cell_id", "tenant__slug")
        .annotate(busy=Sum("busy_ms"))
    )
    cells: dict[str, dict[str, int]] = {}
    for cell, slug, milliseconds in counted:
        cells.setdefault(cell, {})[slug] = milliseconds
    found = (
        loudest(cell, busy, tenants=tenants_by_cell.get(cell, 0)) for cell, busy in cells.items()
    )
    return [loud for loud in found if loud is not None]


def advice_for(tenant: Tenant) -> list[str]:
    """What an operator should know of this tenant; [] when there is nothing."""
    neighbours = Tenant.objects.filter(cell=tenant.cell_id).exclude(state=Tenant.State.ERASED)
    found = noisy({tenant.cell_id: neighbours.count()})
    return [loud.sentence for loud in found if loud.slug == tenant.slug]
