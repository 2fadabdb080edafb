"""What the control cell remembers of a run: who was migrated, who failed and why.

It is told in batches and may be behind: what is done is decided by the tenants' own tables. It
holds no value of anybody's row: an error is its kind and where it was, never its words.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
from django.db import Error as DjangoError
from django.db import connections
from django.db.models import QuerySet
from django.utils import timezone

from regions.cli import one_line
from tenants.databases import control_writer_alias
from tenants.rollout.models import Rollout, RolloutUnit
from tenants.rollout.units import Unit, Work, key_of

FLUSH_SECONDS = 0.5
State = RolloutUnit.State

# What these say is names of structure, and never a value.
_ABOUT_NAMES = (
    psycopg.errors.DuplicateColumn,
    psycopg.errors.DuplicateTable,
    psycopg.errors.DuplicateObject,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedObject,
)

# A thousand rows from six arrays: as objects of Django's they cost more than their insertion.
_INSERT = """
INSERT INTO public.tenants_rolloutunit
       (id, rollout_id, cell, tenant, slug, migrations,
        state, attempt, error, pending, updated_at)
SELECT id, %s, cell, tenant, slug, migrations, %s, 0, '', '[]', now()
  FROM unnest(%s::uuid[], %s::text[], %s::uuid[], %s::text[], %s::jsonb[])
       AS v(id, cell, tenant, slug, migrations)
"""

_UPDATE = """
UPDATE public.tenants_rolloutunit u
   SET state = v.state, attempt = v.attempt, duration_ms = v.duration, error = v.error,
       pending = v.pending, updated_at = now()
  FROM unnest(%s::uuid[], %s::text[], %s::int[], %s::int[], %s::text[], %s::jsonb[])
       AS v(id, state, attempt, duration, error, pending)
 WHERE u.id = v.id
"""


@dataclass(frozen=True, slots=True)
class Note:
    state: str
    attempt: int = 0
    duration_ms: int | None = None
    error: str = ""
    pending: str = "[]"


class Record:
    """One run."""

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout
        self._ids: dict[str, UUID] = {}
        self._waiting: dict[UUID, Note] = {}
        self._flushed = 0.0

    @classmethod
    def begin(cls, *, actor: str, options: dict[str, Any], target: str) -> Record:
        rollout = Rollout(actor=actor, options=options, target=target)
        rollout.save(using=control_writer_alias(), force_insert=True)
        return cls(rollout)

    @classmethod
    def again(cls, rollout: Rollout) -> Record:
        """A run that was not finished is taken up."""
        rollout.state, rollout.reason, rollout.ended_at = Rollout.State.RUNNING, "", None
        using = control_writer_alias()
        rollout.save(using=using, update_fields=["state", "reason", "ended_at"])
        record = cls(rollout)
        rows = RolloutUnit.objects.using(using).filter(rollout=rollout)
        record._ids |= {_key(row): row.id for row in rows}
        return record

    def expect(self, works: Iterable[Work]) -> None:
        """They are in the plan: it is told before any of them is touched. Those that are known,
        also from the run that is taken up again, keep their row."""
        fresh = {work.unit.key: (uuid4(), work) for work in works if work.unit.key not in self._ids}
        if not fresh:
            return
        columns: list[list[Any]] = [
            [id_ for id_, _ in fresh.values()],
            [work.unit.spec.name for _, work in fresh.values()],
            [work.unit.tenant_id for _, work in fresh.values()],
            [work.unit.name for _, work in fresh.values()],
            [json.dumps(work.route.migrations) for _, work in fresh.values()],
        ]
        with connections[control_writer_alias()].cursor() as cursor:
            cursor.execute(_INSERT, [self.rollout.id, State.PENDING, *columns])
        self._ids |= {key: id_ for key, (id_, _) in fresh.items()}

    def note(self, unit: Unit, note: Note) -> None:
        self._waiting[self._ids[unit.key]] = note

    def flush(self, *, force: bool = False) -> None:
        """Tell the control cell, now and then. It may be moving to another region: then later."""
        if not self._waiting or (not force and time.monotonic() - self._flushed < FLUSH_SECONDS):
            return
        self._flushed = time.monotonic()
        notes = dict(self._waiting)
        columns: list[list[Any]] = [
            list(notes),
            [each.state for each in notes.values()],
            [each.attempt for each in notes.values()],
            [each.duration_ms for each in notes.values()],
            [each.error for each in notes.values()],
            [each.pending for each in notes.values()],
        ]
        try:
            with connections[control_writer_alias()].cursor() as cursor:
                cursor.execute(_UPDATE, columns)
        except DjangoError:
            if force:
                raise
            connections[control_writer_alias()].close()
            return
        for key, note in notes.items():
            if self._waiting.get(key) is note:
                del self._waiting[key]

    def wave(self, size: int, reason: str) -> None:
        """It is told before anybody of it is touched."""
        waves = self.rollout.options.setdefault("waves", [])
        waves.append({"size": size, "reason": reason})
        self.rollout.save(using=control_writer_alias(), update_fields=["options"])

    def end(self, state: str, reason: str) -> None:
        self.flush(force=True)
        self.rollout.state = state
        self.rollout.reason = reason
        self.rollout.ended_at = timezone.now()
        self.rollout.save(
            using=control_writer_alias(), update_fields=["state", "reason", "ended_at"]
        )


def newest_rows(cells: Collection[str]) -> dict[str, RolloutUnit]:
    """The last that is remembered of each unit, by its key; of those that have not come to a good
    end everywhere."""
    rows = _rows().filter(cell__in=list(cells)).order_by("cell", "tenant", "-rollout__created_at")
    newest = rows.distinct("cell", "tenant").values("pk")
    left = _rows().filter(pk__in=newest).exclude(state=State.DONE, pending=[])
    return {_key(row): row for row in left}


def unfinished(cells: Collection[str]) -> Rollout | None:
    """The newest run of these cells, if it was halted, killed, or left something undone."""
    runs = Rollout.objects.using(control_writer_alias()).order_by("-created_at")
    newest = runs.filter(options__cells__has_any_keys=list(cells)).first()
    return None if newest is None or newest.state == Rollout.State.DONE else newest


def mark_as_killed(cells: Collection[str]) -> list[RolloutUnit]:
    """Nobody works on these cells, as the caller has the claim on them: what is still marked as
    running was killed. Returns those units."""
    using = control_writer_alias()
    runs = Rollout.objects.using(using).filter(options__cells__has_any_keys=list(cells))
    runs.filter(state=Rollout.State.RUNNING).update(
        state=Rollout.State.HALTED, reason="its process was killed", ended_at=timezone.now()
    )
    left = list(_rows().filter(cell__in=list(cells), state=State.RUNNING))
    if left:
        RolloutUnit.objects.using(using).filter(id__in=[row.id for row in left]).update(
            state=State.PENDING
        )
    return left


def where_it_was(error: BaseException) -> str:
    """The error's kind and place, without any value."""
    cause = error.__cause__ if isinstance(error, DjangoError) and error.__cause__ else error
    said = type(cause).__name__
    if isinstance(cause, psycopg.Error):
        names = (cause.sqlstate, cause.diag.table_name, cause.diag.column_name)
        said = " ".join([said, *filter(None, [*names, cause.diag.constraint_name])])
    if isinstance(cause, _ABOUT_NAMES):
        said = f"{one_line(cause)} ({said})"
    where = ", ".join(reversed(getattr(error, "__notes__", [])))
    return f"{said} in {where}" if where else said


def _rows() -> QuerySet[RolloutUnit]:
    return RolloutUnit.objects.using(control_writer_alias()).select_related("rollout")


def _key(row: RolloutUnit) -> str:
    return key_of(row.cell, row.tenant)
