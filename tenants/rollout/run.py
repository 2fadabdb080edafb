"""A run of `cell migrate`: plan, canary, waves, report.

Guarantees that two runs never work on one cell, that a tenant which fails stays as it was and
holds nobody else up, that a run ends cleanly when too many fail, and that killing it at any point
loses nothing: what is done is read from the tenants themselves when it is taken up again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from regions.topology import CellSpec
from tenants.databases import control_writer_alias
from tenants.models import Tenant
from tenants.rollout import records
from tenants.rollout.crew import Crew, Event
from tenants.rollout.locks import Locks, claimed, still_there
from tenants.rollout.models import Rollout, RolloutUnit
from tenants.rollout.planning import Options, Plan, plan, refuse_unsafe
from tenants.rollout.quiet import end_quiet
from tenants.rollout.survey import keys_of, survey, tenants_of, units_of
from tenants.rollout.templates import Templates
from tenants.rollout.units import Work
from tenants.rollout.waves import decide

State = RolloutUnit.State
LOOK_SECONDS = 0.25
AFTERWARDS_SECONDS = 30.0


class Watch(Protocol):
    """Whoever looks on."""

    def begin(self, total: int) -> None: ...
    def wave(self, number: int, size: int, reason: str) -> None: ...
    def ended(self, event: Event) -> None: ...


@dataclass(slots=True)
class Report:
    """`total` counts all units; `events` are how those ended that had something to be done."""

    total: int
    works: tuple[Work, ...]
    events: list[Event] = field(default_factory=list)
    quarantined: list[Work] = field(default_factory=list)
    untouched: list[Work] = field(default_factory=list)
    halted: str = ""
    rollout: Rollout | None = None
    seconds: float = 0.0

    def count(self, state: str) -> int:
        return sum(event.state == state for event in self.events)

    @property
    def complete(self) -> bool:
        """Whether every tenant is at this code's version."""
        return not self.quarantined and self.count(State.DONE) == len(self.works)


def run(options: Options, *, actor: str, watch: Watch) -> Report:
    """Raises CellBusy, ReplicaDown or InvalidRequest before anything is changed."""
    began = time.monotonic()
    with claimed([spec.name for spec in options.cells]) as locks:
        _clean_up_after_killed(options.cells)
        templates = Templates(options.manner.lock_timeout)
        planned = plan(options, templates=templates)
        report = Report(planned.survey.total, planned.survey.works)
        report.quarantined = list(planned.quarantined)
        if planned.ready:
            refuse_unsafe(planned.ready, options)
            _Run(options, planned, locks, report, watch, templates).go(actor)
    report.seconds = time.monotonic() - began
    return report


class _Run:
    def __init__(
        self,
        options: Options,
        planned: Plan,
        locks: Locks,
        report: Report,
        watch: Watch,
        templates: Templates,
    ) -> None:
        self._options = options
        self._planned = planned
        self._locks = locks
        self._report = report
        self._watch = watch
        # Units by key with the tenants whose locks are theirs; locks of those that have ended.
        self._under_way: dict[str, list[str]] = {}
        self._free: list[str] = []
        self._crew = Crew(templates, options.manner)

    def go(self, actor: str) -> None:
        todo = [work for work in self._planned.ready if work.trouble is None]
        self._record = self._begin(actor)
        self._record.expect(work for work in self._planned.ready if work.trouble is not None)
        self._report.rollout = self._record.rollout
        self._watch.begin(len(self._planned.ready))
        for work in self._planned.ready:
            if work.trouble is not None:
                self._note(Event(work, State.FAILED, error=work.trouble, record=work.trouble))
        with self._crew.at_work(min(self._options.parallel, max(len(todo), 1))):
            try:
                skipped = self._waves(todo)
                if skipped and not self._report.halted:
                    self._afterwards(skipped)
                if not self._report.halted:
                    self._latecomers()
            except KeyboardInterrupt:
                self._report.halted = "interrupted"
                for work in self._crew.take_back():
                    del self._under_way[work.unit.key]
                self._collect()
        ended = {event.work.unit.key for event in self._report.events}
        self._report.untouched = [w for w in todo if w.unit.key not in ended]
        state = Rollout.State.DONE if self._report.complete else Rollout.State.FAILED
        if self._report.halted:
            state = Rollout.State.HALTED
        self._record.end(state, self._report.halted)

    def _begin(self, actor: str) -> records.Record:
        cells = [spec.name for spec in self._options.cells]
        if self._options.resume and (left := records.unfinished(cells)):
            return records.Record.again(left)
        return records.Record.begin(
            actor=actor,
            options={"cells": cells, "contract": self._options.contract},
            target=self._planned.graph.fingerprint,
        )

    def _waves(self, todo: list[Work]) -> list[Work]:
        """Returns those that somebody else was working on."""
        waiting, number = list(todo), 0
        skipped: list[Work] = []
        while waiting:
            decision = decide(
                self._options.pace,
                total=len(self._planned.ready) - len(skipped),
                done=self._report.count(State.DONE),
                failed=self._report.count(State.FAILED) + self._report.count(State.BLOCKED),
                under_way=len(self._under_way),
            )
            if decision.halt:
                self._report.halted = decision.reason
                break
            if decision.wait:
                self._collect()
                continue
            wave, waiting = waiting[: decision.size], waiting[decision.size :]
            number += 1
            self._record.expect(wave)
            self._record.wave(len(wave), decision.reason)
            self._watch.wave(number, len(wave), decision.reason)
            skipped += self._hand_out(wave)
            # While the first are at work there is time to write the others down.
            self._record.expect(waiting)
            # Nobody is idle while the next wave is got ready.
            self._collect(all_but=4 * self._options.parallel)
        self._collect()
        return skipped

    def _carry_out(self, wave: list[Work]) -> list[Work]:
        """The same for units that aren't told of before."""
        self._record.expect(wave)
        skipped = self._hand_out(wave)
        self._collect()
        return skipped

    def _hand_out(self, wave: list[Work]) -> list[Work]:
        """Returns those that somebody else is working on."""
        self._locks.leave(self._free)
        self._free = []
        slugs = {slug for work in wave for slug in work.unit.slugs}
        ours = self._locks.take(slugs)
        there = still_there(wave)
        free = [
            work for work in wave if work.unit.key in there and ours.issuperset(work.unit.slugs)
        ]
        self._under_way |= {work.unit.key: work.unit.slugs for work in free}
        self._free = sorted(ours - {slug for work in free for slug in work.unit.slugs})
        self._crew.hand_out(free)
        return [work for work in wave if work.unit.key not in self._under_way]

    def _collect(self, *, all_but: int = 0) -> None:
        """Until no more than so many of those that were handed out are under way."""
        while len(self._under_way) > all_but:
            for event in self._crew.events(LOOK_SECONDS):
                self._note(event)
            self._record.flush()
        if not self._under_way:
            self._locks.leave(self._free)
            self._free = []

    def _note(self, event: Event) -> None:
        running = event.state == State.RUNNING
        note = records.Note(
            state=event.state,
            attempt=event.attempt,
            duration_ms=None if running else int(event.seconds * 1000),
            error=event.record[:300],
            pending=json.dumps(event.work.absent) if event.work.absent else "[]",
        )
        self._record.note(event.work.unit, note)
        if not running:
            self._free += self._under_way.pop(event.work.unit.key, [])
            self._report.events.append(event)
            self._watch.ended(event)

    def _afterwards(self, skipped: list[Work]) -> None:
        """Those who were moving: where they are now, as soon as they have arrived."""
        deadline = time.monotonic() + AFTERWARDS_SECONDS
        while skipped:
            skipped = self._carry_out(self._where_they_are(skipped))
            if not skipped or time.monotonic() > deadline:
                break
            time.sleep(LOOK_SECONDS)
        for work in skipped:
            said = "it is being moved or onboarded by another process"
            self._note(Event(work, State.SKIPPED, error=said, record="busy"))

    def _latecomers(self) -> None:
        """Those whom old code onboarded meanwhile, or who moved in."""
        specs = {spec.name: spec for spec in self._options.cells}
        known = self._planned.keys | {event.work.unit.key for event in self._report.events}
        if keys_of(specs.values(), using=control_writer_alias()) <= known:
            return
        tenants = tenants_of(specs, using=control_writer_alias())
        units = [unit for name, spec in specs.items() for unit in units_of(spec, tenants[name])]
        late = [unit for unit in units if unit.key not in known]
        if not late:
            return
        found = survey(self._planned.graph, late, absent=self._options.without)
        works = [work for work in found.works if work.trouble is None]
        self._report.total += len(late)
        self._report.works = (*self._report.works, *found.works)
        self._record.expect(found.works)
        for work in found.works:
            if work.trouble is not None:
                self._note(Event(work, State.FAILED, error=work.trouble, record=work.trouble))
        for work in self._carry_out(works):
            said = "it came during the run and is being moved by another process"
            self._note(Event(work, State.SKIPPED, error=said, record="busy"))

    def _where_they_are(self, skipped: list[Work]) -> list[Work]:
        specs = {spec.name: spec for spec in self._options.cells}
        tenants = tenants_of(specs, using=control_writer_alias())
        wanted = {slug for work in skipped for slug in work.unit.slugs}
        units = [
            unit
            for name, spec in specs.items()
            for unit in units_of(spec, tenants[name])
            if unit.tenant is None or unit.tenant.slug in wanted
        ]
        kept = {work.unit.key for work in skipped}
        found = survey(
            self._planned.graph,
            [unit for unit in units if unit.key in kept or unit.tenant is not None],
            absent=self._options.without,
            forgiven=kept,
        )
        gone = [w for w in skipped if w.unit.key not in {each.key for each in units}]
        for work in gone:
            # It arrived with the tables of this code, or is in a cell that isn't migrated now.
            self._note(Event(work, State.DONE))
        self._record.expect(found.works)
        done = [w for w in skipped if w.unit.key not in {x.unit.key for x in (*found.works, *gone)}]
        for work in done:
            self._note(Event(work, State.DONE))
        return list(found.works)


def _clean_up_after_killed(cells: Collection[CellSpec]) -> None:
    """A run that was killed may have left tenants outside of closed doors."""
    specs = {spec.name: spec for spec in cells}
    for row in records.mark_as_killed(list(specs)):
        spec = specs[row.cell]
        if len(spec.regions) > 1 and not spec.policy.leased:
            tenants = tenants_of([row.cell], using=control_writer_alias())[row.cell]
            end_quiet(
                spec,
                [
                    each.id
                    for each in tenants
                    if each.state != Tenant.State.MOVING and row.tenant in (None, each.id)
                ],
            )
