"""Carries out what a schedule of drills says, one cell after the other, while nobody watches.

Guarantees that a cell which is not fit, or that somebody works on, is passed over with the reason;
that after a drill which was halted or failed no other begins; and that what came of each is kept.
"""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from django.db import Error as DjangoError
from django.db import close_old_connections, transaction
from django.utils import timezone

from regions.cli import one_line
from regions.current import deployment
from regions.drills.readiness import unready
from regions.errors import RegionsError, UnknownDrill
from regions.failover.aside import aside_now
from regions.failover.ask import asked_now
from regions.replication.status import cell_status
from tenants.databases import control_writer_alias
from tenants.drilling import Wish, begin_drill
from tenants.errors import TenantsError
from tenants.models import DrillSchedule, Move, Operation
from tenants.rollout.models import Rollout
from tenants.seams import cell_spec

log = logging.getLogger(__name__)

RECORD_SECONDS = 60.0  # the drill may just have moved, or stopped, the control cell's writer
FIT_SECONDS = 60.0  # until a cell has got over the drill before it
SILENCE = timedelta(minutes=5)  # an operation that reports nothing for so long is not under way
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
ERRORS = (TenantsError, RegionsError, DjangoError, psycopg.Error, OSError)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one cell's drill, and why; `report`: None if nothing was broken."""

    word: str
    reason: str = ""
    report: dict[str, Any] | None = None


def rehearse(name: str, *, actor: str, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Run the schedule's drills now; what came of each. Raises UnknownDrill."""
    schedule = DrillSchedule.objects.using(control_writer_alias()).filter(name=name).first()
    if schedule is None:
        raise UnknownDrill(f"No schedule is called {name!r}.")
    noted: list[dict[str, Any]] = []
    found = Outcome(SKIPPED)
    stopped = False
    for cell in schedule.cells:
        patience = FIT_SECONDS if found.word == PASSED else 0.0
        if stopped:
            found = Outcome(SKIPPED, "A drill before it was not passed.")
        else:
            found = _one(schedule, cell, patience, actor=actor, tell=tell)
        stopped = stopped or found.word == FAILED
        noted.append(note(name, cell, found))
        tell(f"{cell}: {found.word} {found.reason}".rstrip())
    return noted


def _one(
    schedule: DrillSchedule,
    cell: str,
    patience: float,
    *,
    actor: str,
    tell: Callable[[str], None],
) -> Outcome:
    deadline = time.monotonic() + patience
    try:
        while reason := _why_not(cell):
            if time.monotonic() > deadline:
                return Outcome(SKIPPED, reason)
            time.sleep(1)
        wish = Wish(schedule.scenario, cell, rto=schedule.rto, rpo=schedule.rpo)
        _, carry_out = begin_drill(wish, actor=actor)
    except ERRORS as refused:
        return Outcome(SKIPPED, one_line(refused))
    try:
        report = carry_out(tell)
    except (*ERRORS, subprocess.TimeoutExpired) as error:
        return Outcome(FAILED, one_line(error))
    missed = [check["name"] for check in report["checks"] if not check["passed"]]
    return Outcome(FAILED if missed else PASSED, ", ".join(missed), report)


def _why_not(cell: str) -> str | None:
    """Why the cell is not fit for a drill that nobody watches."""
    where = deployment()
    status = cell_status(where, cell_spec(cell))
    return unready(status, aside=aside_now(where), under_way=_under_way())


def _under_way() -> list[str]:
    """What operators do, here and in agents."""
    using = control_writer_alias()
    working = Operation.objects.using(using).filter(
        state__in=(Operation.State.QUEUED, Operation.State.RUNNING),
        updated_at__gt=timezone.now() - SILENCE,
    )
    moves = Move.objects.using(using).select_related("tenant")
    rollouts = Rollout.objects.using(using).filter(state=Rollout.State.RUNNING)
    return [
        *asked_now(deployment()),
        *(f"{one.verb} {one.slug}" for one in working),
        *(f"tenant {one.tenant.slug} moves to {one.target}" for one in moves),
        *("a migration of cells" for _ in rollouts),
    ]


def note(name: str, cell: str, found: Outcome) -> dict[str, Any]:
    """Keep what came of it where the schedule is shown."""
    report = found.report or {}
    noted = {
        "cell": cell,
        "at": timezone.now().isoformat(timespec="seconds"),
        "outcome": found.word,
        "reason": found.reason,
        **{key: report.get(key) for key in ("id", "rto_seconds", "rpo_writes", "compared")},
    }
    level = logging.ERROR if found.word == FAILED else logging.INFO
    log.log(level, "Scheduled drill %s on %s: %s %s", name, cell, found.word, found.reason)
    deadline = time.monotonic() + RECORD_SECONDS
    while True:
        try:
            close_old_connections()
            _keep(name, cell, noted)
        except (DjangoError, psycopg.Error, RegionsError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return noted


def _keep(name: str, cell: str, noted: dict[str, Any]) -> None:
    using = control_writer_alias()
    with transaction.atomic(using=using):
        row = DrillSchedule.objects.using(using).select_for_update().filter(name=name).first()
        if row is not None:  # removed meanwhile
            row.outcomes[cell] = noted
            row.save(using=using, update_fields=["outcomes"])
