"""Prepares drills and runs them: what the command, schedules and the console share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import transaction

from regions.current import deployment
from regions.deployment import Deployment
from regions.drills import folder as folders
from regions.drills.folder import Folder
from regions.drills.plan import Plan, plan, require_synthetic, stage_of
from regions.drills.run import Run, objectives_for
from regions.drills.scenarios import SCENARIOS, find
from regions.failover.plan import answers
from regions.topology import Topology, read_leases
from tenants import audit
from tenants.databases import control_writer_alias
from tenants.models import Tenant
from tenants.seams import all_specs

# A drill is carried out by a process of its own, an operator's and of no region: the region of
# whoever starts it may be what it breaks.
AS_OPERATOR = ("env", "-u", "MERIDIAN_REGION", sys.executable, "manage.py", "drill")


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator asks for; `rto` and `rpo` are objectives of this run."""

    scenario: str
    cell: str | None = None
    real_tenants: bool = False
    rto: float | None = None
    rpo: int | None = None


def drill_list() -> list[dict[str, Any]]:
    """The scenarios, and how each went last."""
    last: dict[str, dict[str, Any]] = {}
    for one in reversed(folders.runs(deployment())):
        state = one.state()
        last[state.get("scenario", "")] = state
    return [
        {
            "scenario": scenario.name,
            "title": scenario.title,
            "expects": scenario.expects.value,
            "last": last.get(scenario.name),
        }
        for scenario in SCENARIOS.values()
    ]


def plan_drill(wish: Wish) -> tuple[Plan, Topology]:
    """What would be done and who would notice; nothing is. Raises UnknownScenario, UnknownCell,
    DrillRefused."""
    where = deployment()
    drills = folders.drills_of(where)
    topology = Topology(cells={spec.name: spec for spec in all_specs()})
    leases = read_leases(where.map_dirs)
    laws = {site.name: site.jurisdiction for site in where.regions.values()}
    slugs: dict[str, list[str]] = {}
    tenants = Tenant.objects.exclude(state=Tenant.State.ERASED).order_by("slug")
    for cell, slug in tenants.values_list("cell_id", "slug"):
        slugs.setdefault(cell, []).append(slug)
    planned = plan(
        find(wish.scenario),
        stage_of(topology, leases, laws, wish.cell, etcd=bool(where.lease_store.etcd)),
        topology,
        leases,
        up=[name for name in where.regions if answers(where, name)],
        tenants=slugs,
        synthetic=drills.synthetic,
    )
    return planned, topology


def begin_drill(wish: Wish, *, actor: str) -> tuple[Folder, Callable[..., dict[str, Any]]]:
    """A run that is on record, and what carries it out. Raises DrillRefused before anything is
    broken."""
    planned, topology = plan_drill(wish)
    require_synthetic(planned, real_tenants=wish.real_tenants)
    where = deployment()
    with folders.only_one(where):  # before anything is written about it
        folder = folders.new(where, wish.scenario)
    cell = planned.stage.cell.name
    using = control_writer_alias()
    with transaction.atomic(using=using):
        audit.record(
            "drill", cell, actor=actor, using=using, scenario=wish.scenario, run=folder.name
        )
    steady = {one.cell for one in planned.radius.stays} - {cell}
    run = Run(
        where,
        planned,
        folder,
        objectives_for(where, wish.rto, wish.rpo),
        tuple(spec for name in sorted(steady) if (spec := topology.cells[name]).policy.leased),
        actor=actor,
    )
    return folder, partial(_carry_out, where, run)


def _carry_out(where: Deployment, run: Run, tell: Callable[[str], None]) -> dict[str, Any]:
    with folders.only_one(where):
        return run.carry_out(tell)
