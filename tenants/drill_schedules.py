"""Drills that run by themselves: per scenario, cells and timetable.

Guarantees that a moment is dealt with once, however many look however often, and that no customer
would notice.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from threading import Thread
from typing import Any
from uuid import NAMESPACE_OID

from celery.schedules import crontab
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from regions.current import deployment
from regions.drills.folder import drills_of
from regions.errors import DrillRefused, InvalidTimetable
from tenants import audit
from tenants.celery.beat import Job, look
from tenants.databases import control_writer_alias
from tenants.drilling import AS_OPERATOR, Wish, plan_drill
from tenants.models import DrillSchedule
from tenants.rehearsing import SKIPPED, Outcome, note


def schedule_drill(
    name: str,
    *,
    scenario: str,
    cells: Sequence[str],
    timetable: str,
    rto: float | None = None,
    rpo: int | None = None,
    actor: str,
) -> DrillSchedule:
    """Make the schedule, or change it. Raises InvalidTimetable, UnknownScenario, UnknownCell, and
    DrillRefused where customers would notice."""
    timetable = " ".join(timetable.split())
    _job(name, timetable)
    for cell in cells:
        if real := plan_drill(Wish(scenario, cell))[0].real:
            raise DrillRefused(
                f"{len(real)} real tenants would notice, and nobody would watch: "
                f"{', '.join(real[:5])}. Schedules are for cells of tenants made for drills."
            )
    using = control_writer_alias()
    values = {"scenario": scenario, "cells": list(dict.fromkeys(cells)), "timetable": timetable}
    with transaction.atomic(using=using):
        made, _ = DrillSchedule.objects.using(using).update_or_create(
            name=name,
            defaults={**values, "rto": rto, "rpo": rpo, "actor": actor, "seen": timezone.now()},
        )
        audit.record("drill schedule", name, actor=actor, using=using, **values)
    return made


def unschedule_drill(name: str, *, actor: str) -> bool:
    """Whether there was one."""
    using = control_writer_alias()
    with transaction.atomic(using=using):
        found, _ = DrillSchedule.objects.using(using).filter(name=name).delete()
        if found:
            audit.record("drill unschedule", name, actor=actor, using=using)
    return bool(found)


def document(schedule: DrillSchedule) -> dict[str, Any]:
    """As commands and the console show it."""
    after, wait, _ = crontab.from_string(schedule.timetable).remaining_delta(timezone.now())
    outcomes = (schedule.outcomes.get(cell) for cell in schedule.cells)
    return {
        "name": schedule.name,
        "scenario": schedule.scenario,
        "cells": schedule.cells,
        "timetable": schedule.timetable,
        "next": (after + wait).astimezone(UTC).isoformat(timespec="minutes"),
        "objectives": {"rto_seconds": schedule.rto, "rpo_writes": schedule.rpo},
        "by": schedule.actor,
        "outcomes": [outcome for outcome in outcomes if outcome],
    }


def start_due(now: datetime) -> int:
    """Start what is due at `now`, each in a process of its own; returns how many."""
    using = control_writer_alias()
    started = 0
    for schedule in DrillSchedule.objects.using(using):
        job = _job(schedule.name, schedule.timetable)
        found = look(job, NAMESPACE_OID, seen=schedule.seen.timestamp(), now=now.timestamp())
        if found.moment is None:
            continue
        moment = datetime.fromtimestamp(found.moment, UTC)
        unchanged = DrillSchedule.objects.using(using).filter(
            name=schedule.name, timetable=schedule.timetable, seen=schedule.seen
        )
        if not unchanged.update(seen=moment):
            continue  # somebody else looked, or changed it
        if found.run:
            _start(schedule.name)
            started += 1
        else:
            missed = Outcome(SKIPPED, f"Nobody looked at {moment:%Y-%m-%d %H:%M} UTC.")
            for cell in schedule.cells:
                note(schedule.name, cell, missed)
    return started


def _start(name: str) -> None:
    folder = drills_of(deployment()).folder
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "schedules.log").open("ab") as file:
        process = subprocess.Popen(
            [*AS_OPERATOR, "rehearse", name, "--by", f"schedule:{name}"],
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    Thread(target=process.wait, daemon=True).start()  # so that it leaves no zombie behind


def _job(name: str, timetable: str) -> Job:
    """Raises InvalidTimetable."""
    try:
        schedule = crontab.from_string(timetable)
        schedule.remaining_delta(timezone.now())  # refuses a day that never comes
        return Job(name, "", schedule, spread=0.0)
    except ValueError as error:
        raise InvalidTimetable(
            f"{timetable!r} is no timetable of drills: write MINUTE HOUR DAY MONTH WEEKDAY in UTC, "
            f"as in '0 3 * * mon' ({error})."
        ) from error
