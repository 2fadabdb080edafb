"""What a run would do, and what it must not: the options, the plan, the refusals.

Changes nothing. Guarantees that a tenant in quarantine is left alone until somebody says so, and
that what running code could not bear is asked for by name.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from regions.topology import CellSpec
from tenants.databases import control_writer_alias
from tenants.errors import InvalidRequest
from tenants.rollout import records
from tenants.rollout.carry_out import Manner
from tenants.rollout.foresee import Foresight
from tenants.rollout.graph import Graph
from tenants.rollout.lint import Level
from tenants.rollout.models import RolloutUnit
from tenants.rollout.survey import Survey, survey, tenants_of, units_of
from tenants.rollout.templates import Templates
from tenants.rollout.units import Work
from tenants.rollout.waves import Pace

State = RolloutUnit.State
# Why a unit's replicas may differ: a run of ours was not finished.
_OURS = frozenset({State.PENDING, State.RUNNING, State.FAILED, State.BLOCKED})


@dataclass(frozen=True, slots=True)
class Options:
    """`without` are regions that are left for later; `level` accepts replicas that somebody
    migrated by hand; `resume` takes up the last run."""

    cells: tuple[CellSpec, ...]
    pace: Pace = field(default_factory=Pace)
    manner: Manner = field(default_factory=lambda: Manner(lock_timeout=1.0, attempts=10))
    parallel: int = 4
    contract: bool = False
    retry_quarantined: bool = False
    without: tuple[str, ...] = ()
    level: bool = False
    resume: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """`keys` are those of all units, whether there is something to be done or not."""

    keys: frozenset[str]
    graph: Graph
    survey: Survey
    quarantined: tuple[Work, ...]
    ready: tuple[Work, ...]


def plan(options: Options, *, templates: Templates | None = None) -> Plan:
    """Changes nothing. Raises ReplicaDown or InvalidRequest. `templates` are those of the run that
    will follow: the first is made meanwhile."""
    graph = Graph()
    names = [spec.name for spec in options.cells]
    tenants = tenants_of(names, using=control_writer_alias())
    units = [unit for spec in options.cells for unit in units_of(spec, tenants[spec.name])]
    known = records.newest_rows(names)
    forgiven = {
        unit.key
        for unit in units
        if options.level
        or (unit.key in known and (known[unit.key].state in _OURS or known[unit.key].pending))
    }
    foresight = None
    if templates is not None:
        sound = [unit for unit in units if unit.key not in known]
        foresight = Foresight(templates, graph, sound, absent=options.without)
    found = survey(graph, units, absent=options.without, forgiven=forgiven)
    if foresight is not None:
        foresight.offer(found.works)
    caught = {
        work.unit.key
        for work in found.works
        if work.unit.key in known and known[work.unit.key].state == State.FAILED
    }
    quarantined = (
        [] if options.retry_quarantined else [w for w in found.works if w.unit.key in caught]
    )
    kept = {work.unit.key for work in quarantined}
    ready = [work for work in found.works if work.unit.key not in kept]
    keys = frozenset(unit.key for unit in units)
    return Plan(keys, graph, found, tuple(quarantined), tuple(ready))


def refuse_unsafe(works: Collection[Work], options: Options) -> None:
    """Raises InvalidRequest, saying what to do."""
    concerns = {concern for work in works for concern in work.route.concerns}
    concerns |= {c for work in works for route in work.behind.values() for c in route.concerns}
    for concern in sorted(concerns, key=lambda each: each.migration):
        if concern.level is Level.REFUSE:
            raise InvalidRequest(f"{concern.migration}: {concern.text}")
    unsafe = sorted(f"{c.migration} {c.text}" for c in concerns if c.level is Level.CONTRACT)
    if unsafe and not options.contract:
        raise InvalidRequest(
            f"Code that runs now could not bear this: {'; '.join(unsafe)}. When no process runs "
            "the old code any more, say --contract."
        )
    if unsafe and options.without:
        raise InvalidRequest(
            f"{'; '.join(unsafe)}: that can't be left for later in {', '.join(options.without)}. "
            "Wait until every region is there."
        )
