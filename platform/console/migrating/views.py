"""The page of one run of `cell migrate`: its waves, how far each tenant is, and what to do next."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.db.models import Case, Count, IntegerField, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from console.access import needs
from console.pages import page
from tenants.rollout.advice import advise
from tenants.rollout.models import Rollout, RolloutUnit

UNITS_A_PAGE = 100
State = RolloutUnit.State
# What needs somebody comes first.
ORDER = (
    State.FAILED,
    State.BLOCKED,
    State.SKIPPED,
    State.RUNNING,
    State.PENDING,
    State.DONE,
)


@needs("tenants.view_rollout")
def show(request: HttpRequest, key: UUID) -> HttpResponse:
    run = get_object_or_404(Rollout, id=key)
    title = f"Migration of {', '.join(run.options.get('cells', []))}"
    return page(request, "console/rollout.html", title=title, **_context(request, run))


@needs("tenants.view_rollout")
def progress(request: HttpRequest, key: UUID) -> HttpResponse:
    """The part of the page that is asked for while the run is under way."""
    run = get_object_or_404(Rollout, id=key)
    return render(request, "console/rollout_progress.html", _context(request, run))


def _context(request: HttpRequest, run: Rollout) -> dict[str, Any]:
    units = RolloutUnit.objects.filter(rollout=run)
    counts = dict(units.order_by().values_list("state").annotate(count=Count("id")))
    total = sum(counts.values())
    ended = total - counts.get(State.PENDING, 0) - counts.get(State.RUNNING, 0)
    later = units.exclude(pending=[]).order_by().values_list("pending", flat=True)
    places = [When(state=state, then=Value(place)) for place, state in enumerate(ORDER)]
    ordered = units.order_by(Case(*places, output_field=IntegerField()), "cell", "slug")
    left_for_later = sorted({region for regions in later for region in regions})
    return {
        "run": run,
        "counts": [(state.value, counts[state]) for state in ORDER if counts.get(state)],
        "total": total,
        "ended": ended,
        "percent": 100 * ended // total if total else 100,
        "migrations": _migrations(units),
        "units": Paginator(ordered, UNITS_A_PAGE).get_page(request.GET.get("page")),
        "advice": advise(run.state, run.options, counts, left_for_later),
    }


def _migrations(units: Any) -> list[str]:
    """Of all starting points together, in the order in which they are first met."""
    lists = units.order_by("migrations").values_list("migrations", flat=True).distinct()
    return list(dict.fromkeys(name for names in lists for name in names))
