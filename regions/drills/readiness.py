"""Whether a cell is fit for a drill that nobody watches. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CAUGHT_UP_SECONDS = 5.0  # heartbeats come each three seconds at least


def unready(
    status: Mapping[str, Any], *, aside: Iterable[str] = (), under_way: Sequence[str] = ()
) -> str | None:
    """Why not, in one sentence; None: it is fit. `status`: the document of `cell show`;
    `under_way`: what operators are doing, a sentence each."""
    if under_way:
        return f"An operator's work is under way: {under_way[0]}."
    if worked_on := sorted(aside):
        return f"Maintenance: {', '.join(worked_on)} stands aside."
    cell = status["name"]
    if status["writer"] is None:
        return f"{cell} has no writer now."
    for replica in status["replicas"]:
        if trouble := _trouble(replica):
            return f"{cell} is not healthy: its replica in {replica['region']} {trouble}."
    return None


def _trouble(replica: Mapping[str, Any]) -> str | None:
    lag = replica["lag_seconds"]
    if not replica["up"]:
        return "does not answer"
    if replica["barred"] or replica["reseeding"]:
        return "is being seeded or repaired"
    if replica["dead_letters"]:
        return f"has {replica['dead_letters']} dead letters"
    if lag is None and replica["lag"]:
        return "does not know how far it is behind"
    if lag is not None and lag > CAUGHT_UP_SECONDS:
        return f"is {lag:.0f} s behind"
    return None
