"""A tenant's limits and usage as bars. Pure: the numbers come from the control cell.

Guarantees that each bar says in words what its length shows, and that a tenant which is not
limited gets numbers without a bar instead of a bar without a meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from tenants.limits.judge import Held, standings
from tenants.limits.values import NAMES, Limits, document

KINDS = {"ok": "success", "near": "warning", "over": "danger"}
LABELS = {
    "requests_per_minute": "Requests a minute",
    "burst": "Requests in one burst",
    "concurrent_requests": "Requests at the same time",
    "connections": "Database connections at the same time",
    "statement_ms": "Longest SQL statement",
    "rows": "Rows",
    "bytes": "Storage",
    "tasks": "Background tasks at the same time",
}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True, slots=True)
class Day:
    """What was counted of a tenant in one region on one day."""

    day: date
    region: str
    requests: int
    refused: int
    busy_ms: int
    connections: int
    rows: int | None
    bytes: int | None
    files: int | None


@dataclass(frozen=True, slots=True)
class Bar:
    """`percent` (more than 100 when it is over) is None where nothing limits; `kind` is the colour
    that repeats `state`."""

    label: str
    region: str
    used: str
    allowed: str
    percent: int | None
    state: str
    kind: str

    @property
    def width(self) -> int:
        """Of the frame, in percent."""
        return min(self.percent or 0, 100)


@dataclass(frozen=True, slots=True)
class Column:
    """One day of the last ones, all regions together; heights in percent of the highest."""

    day: date
    requests: int
    refused: int
    height: int
    refused_height: int


def limit_lines(limits: Limits, override: Mapping[str, object]) -> list[tuple[str, str, str]]:
    """Label, value, and whose it is, for every limit."""
    values = document(limits)
    return [
        (LABELS[name], show(name, values[name]), "its own" if name in override else "of the plan")
        for name in NAMES
    ]


def bars(days: Iterable[Day], limits: Limits) -> list[Bar]:
    """Rows and storage, in each region where they were measured, as of the newest day."""
    newest: dict[str, Day] = {}
    for day in days:
        if day.rows is not None and (day.region not in newest or newest[day.region].day < day.day):
            newest[day.region] = day
    found = []
    for region in sorted(newest):
        last = newest[region]
        held = Held(last.rows or 0, last.bytes or 0, last.files or 0)
        limited = {one.what: one for one in standings(held, limits)}
        for what, used in (("rows", held.rows), ("bytes", held.storage)):
            one = limited.get(what)
            found.append(
                Bar(
                    label=LABELS[what],
                    region=region,
                    used=show(what, used),
                    allowed=show(what, one.allowed if one else None),
                    percent=round(100 * one.share) if one else None,
                    state=one.state if one else "unlimited",
                    kind=KINDS[one.state] if one else "muted",
                )
            )
    return found


def columns(days: Sequence[Day], today: date, *, number: int = 14) -> list[Column]:
    """The last days, the oldest first, days without requests too."""
    requests: dict[date, int] = {}
    refused: dict[date, int] = {}
    for day in days:
        requests[day.day] = requests.get(day.day, 0) + day.requests
        refused[day.day] = refused.get(day.day, 0) + day.refused
    span = [today - timedelta(days=back) for back in reversed(range(number))]
    highest = max([requests.get(day, 0) for day in span] + [1])
    return [
        Column(
            day=day,
            requests=requests.get(day, 0),
            refused=refused.get(day, 0),
            height=_percent(requests.get(day, 0), highest),
            refused_height=_percent(refused.get(day, 0), highest),
        )
        for day in span
    ]


def show(name: str, value: int | None) -> str:
    """A limit or a count for people."""
    if value is None:
        return "unlimited"
    if name == "statement_ms":
        return f"{value / 1000:g} s"
    if name != "bytes":
        return f"{value:,}".replace(",", "\u202f")
    size, unit = float(value), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f}".removesuffix(".0") + f" {_UNITS[unit]}"


def _percent(part: int, whole: int) -> int:
    """Whatever is more than nothing is seen."""
    return max(1, round(100 * part / whole)) if part else 0
