"""A drill before it is run: its steps, and who would notice. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from regions.deployment import CONTROL_CELL
from regions.drills.scenarios import Expect, Scenario, Stage, Step
from regions.errors import DrillRefused
from regions.failover.preview import Dark, Preview, preview
from regions.topology import Lease, Topology

NO_MAJORITY = "No majority can agree on a writer: it is read only."


@dataclass(frozen=True, slots=True)
class Plan:
    """`radius` is the blast radius; `real`: tenants in it that are not made for drills."""

    scenario: Scenario
    stage: Stage
    expects: Expect
    steps: tuple[Step, ...]
    radius: Preview
    real: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario.name,
            "title": self.scenario.title,
            "cell": self.stage.cell.name,
            "writer": self.stage.writer,
            "expects": self.expects.value,
            "steps": [{"after": step.after, "what": step.says} for step in self.steps],
            "moves": [asdict(move) for move in self.radius.moves],
            "dark": [asdict(dark) for dark in self.radius.dark],
            "stays": [asdict(stays) for stays in self.radius.stays],
            "real_tenants": list(self.real),
        }


def stage_of(
    topology: Topology,
    leases: Mapping[str, Lease],
    jurisdictions: Mapping[str, str],
    cell: str | None,
    *,
    etcd: bool = False,
) -> Stage:
    """The named cell, or the leased one with the most regions. Raises UnknownCell, DrillRefused."""
    if len(jurisdictions) < 3:
        raise DrillRefused("Drills need three regions: two can't tell which of them is cut off.")
    if cell is None:
        possible = [
            spec
            for spec in topology.cells.values()
            if spec.policy.leased and spec.name != CONTROL_CELL and spec.name in leases
        ]
        if not possible:
            raise DrillRefused("No cell is written under a lease now: there is nothing to watch.")
        spec = max(possible, key=lambda one: len(one.regions))
    else:
        spec = topology.cell(cell)
    if not spec.policy.leased:
        raise DrillRefused(f"{spec.name} is {spec.policy}: drills are for cells with one writer.")
    if spec.name not in leases:
        raise DrillRefused(f"{spec.name} has no writer now: wait until it has one.")
    return Stage(spec, leases[spec.name].writer, jurisdictions, etcd)


def plan(
    scenario: Scenario,
    stage: Stage,
    topology: Topology,
    leases: Mapping[str, Lease],
    *,
    up: Collection[str],
    tenants: Mapping[str, Sequence[str]],
    synthetic: Sequence[str] = (),
) -> Plan:
    """`synthetic`: patterns of slugs of tenants that exist for drills."""
    lost = scenario.lost(stage)
    alive = len(stage.regions) - len(lost)
    agree = scenario.quorum and (stage.etcd or alive > len(stage.regions) // 2)
    radius = preview(topology, leases, *lost, up=up, tenants=tenants)
    if not agree:
        radius = _without_majority(radius, topology, tenants)
    dark = {one.cell for one in radius.dark}
    expects = Expect.DARK if stage.cell.name in dark else scenario.expected(stage)
    slugs = set(tenants.get(stage.cell.name, ()))
    for noticed in (radius.moves, radius.dark, radius.stays):
        slugs.update(slug for one in noticed for slug in one.tenants)
    real = [slug for slug in sorted(slugs) if not any(fnmatchcase(slug, one) for one in synthetic)]
    return Plan(scenario, stage, expects, scenario.steps(stage), radius, tuple(real))


def require_synthetic(plan: Plan, *, real_tenants: bool) -> None:
    """Raises DrillRefused where customers would notice and nobody said that this is meant."""
    if plan.real and not real_tenants:
        shown = ", ".join(plan.real[:5]) + (" …" if len(plan.real) > 5 else "")
        raise DrillRefused(
            f"{len(plan.real)} real tenants would notice: {shown}. --real-tenants says that you "
            "mean it; --dry-run shows what would happen. Nothing was broken."
        )


def _without_majority(
    found: Preview, topology: Topology, tenants: Mapping[str, Sequence[str]]
) -> Preview:
    """Every cell under a lease goes dark, wherever it is written."""
    known = {one.cell for one in found.dark}
    more = tuple(
        Dark(spec.name, NO_MAJORITY, tuple(tenants.get(spec.name, ())))
        for spec in topology.cells.values()
        if spec.policy.leased and spec.name not in known
    )
    dark = {one.cell for one in (*found.dark, *more)}
    stays = tuple(one for one in found.stays if one.cell not in dark)
    return Preview(found.lost, (), (*found.dark, *more), stays)
