"""Periodic tasks that run for each tenant: when each is due. Pure.

Guarantees that tenants are spread over the interval by their ids (the same for ever), that a
period is run once however often it is looked at, and that a missed one is made up for exactly as
the job declares: not at all (`skip`), or by one run for all that were missed (`run_once`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from celery.schedules import crontab

from regions.topology import CellSpec, Lease
from tenants.errors import InvalidRequest

# A moment that is looked at later than this after it has passed was missed.
GRACE_SECONDS = 60.0
CRONTAB_SPREAD_SECONDS = 300.0
_LONGEST_GAP = timedelta(days=400)
_MINUTE = timedelta(minutes=1)


class Missed(StrEnum):
    SKIP = "skip"
    RUN_ONCE = "run_once"


@dataclass(frozen=True, slots=True)
class Job:
    """`schedule`: seconds, or a crontab in UTC. `spread`: over how many seconds the tenants are
    spread; an interval's whole length unless said otherwise."""

    name: str
    task: str
    schedule: float | crontab
    spread: float
    missed: Missed = Missed.SKIP
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def offset(self, tenant: UUID) -> float:
        """How long after the schedule's own moment it is this tenant's."""
        digest = hashlib.sha256(f"{self.name}\0{tenant.hex}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 * self.spread

    def task_id(self, tenant: UUID, moment: float) -> str:
        """The same for the same moment, so that what was sent twice can be told."""
        return str(uuid5(NAMESPACE_URL, f"meridian:{self.name}:{tenant.hex}:{moment:.3f}"))


def parse_jobs(document: Mapping[str, Mapping[str, Any]]) -> tuple[Job, ...]:
    """MERIDIAN_TENANT_BEAT: {name: {"task", "schedule", "args", "kwargs", "missed", "spread"}}.
    Raises InvalidRequest, naming the entry."""
    return tuple(_parse(name, entry) for name, entry in document.items())


def _parse(name: str, entry: Mapping[str, Any]) -> Job:
    try:
        schedule = entry["schedule"]
        if isinstance(schedule, timedelta):
            schedule = schedule.total_seconds()
        spread = CRONTAB_SPREAD_SECONDS
        if not isinstance(schedule, crontab):
            spread = schedule = float(schedule)
            if schedule <= 0:
                raise ValueError("an interval is more than nothing")
        return Job(
            name=name,
            task=entry["task"],
            schedule=schedule,
            spread=float(entry.get("spread", spread)),
            missed=Missed(entry.get("missed", Missed.SKIP)),
            args=tuple(entry.get("args", ())),
            kwargs=dict(entry.get("kwargs", {})),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRequest(f"MERIDIAN_TENANT_BEAT[{name!r}] can't be used: {error}.") from error


@dataclass(frozen=True, slots=True)
class Look:
    """`moment`: to be remembered as seen; None: nothing has changed. `run`: whether to send."""

    moment: float | None
    run: bool
    reason: str


def look(job: Job, tenant: UUID, *, seen: float | None, now: float) -> Look:
    """What one look at `now` (seconds since 1970) finds, after the moment `seen` was dealt with."""
    if seen is None:
        return Look(now, False, "seen for the first time: its next moment counts")
    moment = latest(job, tenant, after=seen, now=now)
    if moment is None:
        return Look(None, False, "nothing is due")
    if job.missed is Missed.SKIP and now - moment > GRACE_SECONDS:
        return Look(moment, False, "missed, and not made up for")
    return Look(moment, True, "due")


def latest(job: Job, tenant: UUID, *, after: float, now: float) -> float | None:
    """The tenant's last moment in (after, now]."""
    offset = job.offset(tenant)
    if isinstance(job.schedule, crontab):
        found = _latest_minute(job.schedule, after - offset, now - offset)
    else:
        found = (now - offset) // job.schedule * job.schedule
    if found is None or found + offset <= after:
        return None
    return found + offset


def beats_in(cell: CellSpec, lease: Lease | None) -> str | None:
    """The one region whose beat starts the jobs of the cell's tenants; None: nobody's now."""
    if not cell.policy.leased:
        return cell.regions[0]
    return lease.writer if lease is not None and lease.writer in cell.regions else None


def _latest_minute(schedule: crontab, after: float, now: float) -> float | None:
    at = datetime.fromtimestamp(now, UTC).replace(second=0, microsecond=0)
    first = max(datetime.fromtimestamp(after, UTC), at - _LONGEST_GAP)
    while at > first:
        if not (
            at.month in schedule.month_of_year
            and at.day in schedule.day_of_month
            and at.isoweekday() % 7 in schedule.day_of_week
        ):
            at = at.replace(hour=0, minute=0) - _MINUTE
        elif at.hour not in schedule.hour:
            at = at.replace(minute=0) - _MINUTE
        elif at.minute not in schedule.minute:
            at -= _MINUTE
        else:
            return at.timestamp()
    return None
