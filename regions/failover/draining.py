"""Many planned switchovers: a region is emptied of writers, or gets those back whose home it is.

Pure but for `move`, which is an argument. What is to be done is read from the map each time, so a
run that was stopped, or of which a part failed, is simply repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import psycopg

from regions.errors import RegionsError
from regions.failover.plan import Plan
from regions.topology import CellSpec, Lease, Topology

AT_ONCE = 16

Move = Callable[[Plan], dict[str, Any]]
Reachable = Callable[[str], bool]


@dataclass(slots=True)
class Drained:
    """`left` was not tried, because something before it had failed."""

    moved: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def refusal(self) -> str | None:
        if not self.failed:
            return None
        first = self.failed[0]
        more = f" and {len(self.failed) - 1} more" if len(self.failed) > 1 else ""
        left = f" {len(self.left)} were not tried." if self.left else ""
        return (
            f"{first['cell']}{more} could not be moved: {first['reason']}{left} "
            "Repeat the command to go on."
        )


def plan_evacuation(
    topology: Topology, leases: Mapping[str, Lease], region: str, reachable: Reachable
) -> list[Plan]:
    """Every cell that `region` writes, and who takes it: lawful, there, preferred first. Each
    region is asked once whether it is there."""
    there = cache(reachable)
    plans = []
    for spec in _written_by(topology, leases, lambda writer: writer == region):
        others = [name for name in spec.regions if name != region]
        target = next((name for name in others if there(name)), None)
        reason = (
            f"{target} is the preferred lawful region that answers."
            if target
            else f"B06: it stays in {region}, and goes dark if that is shut down: "
            + (f"{', '.join(others)} do not answer." if others else "no other region is lawful.")
        )
        plans.append(Plan(spec, region, target, reason))
    return plans


def plan_nowhere(topology: Topology, region: str, reachable: Reachable) -> list[Plan]:
    """Every cell that all its regions write of which `region` is the last: it has no lease that
    could move, and is dark while the region is shut down or lost."""
    there = cache(reachable)
    alone = []
    for _, spec in sorted(topology.cells.items()):
        others = [other for other in spec.regions if other != region]
        if spec.policy.leased or region not in spec.regions or any(map(there, others)):
            continue
        reason = f"B06: it goes dark with {region}: " + (
            f"{', '.join(others)} do not answer." if others else "no other region is lawful."
        )
        alone.append(Plan(spec, region, None, reason))
    return alone


def plan_failback(
    topology: Topology, leases: Mapping[str, Lease], region: str, reachable: Reachable
) -> list[Plan]:
    """Every cell whose home is `region` and that another region writes."""
    there = reachable(region)
    return [
        Plan(
            spec,
            leases[spec.name].writer,
            region if there else None,
            f"{region} is its home."
            if there
            else f"Its home, {region}, does not answer, or is being worked on.",
        )
        for spec in _written_by(topology, leases, lambda writer: writer != region)
        if spec.regions[0] == region
    ]


def carry_out(plans: Sequence[Plan], move: Move, *, step: int | None) -> Drained:
    """Move `step` cells at a time (all of them without it); after a step of which a part failed
    no other begins."""
    possible = [plan for plan in plans if plan.target is not None]
    done = Drained()
    for wave in _waves(possible, step or max(1, len(possible))):
        if done.failed:
            done.left += [plan.spec.name for plan in wave]
            continue
        with ThreadPoolExecutor(min(AT_ONCE, len(wave))) as pool:
            for plan, outcome in zip(
                wave, pool.map(lambda one: _try(move, one), wave), strict=True
            ):
                if isinstance(outcome, dict):
                    done.moved.append(outcome)
                else:
                    done.failed.append({"cell": plan.spec.name, "reason": outcome})
    return done


def _try(move: Move, plan: Plan) -> dict[str, Any] | str:
    """What was measured, or why it is where it was."""
    try:
        return move(plan)
    except (RegionsError, psycopg.Error, OSError) as error:
        return str(error)


def _waves(plans: Sequence[Plan], size: int) -> Iterator[Sequence[Plan]]:
    return (plans[begin : begin + size] for begin in range(0, len(plans), size))


def _written_by(
    topology: Topology, leases: Mapping[str, Lease], wanted: Callable[[str], bool]
) -> Iterator[CellSpec]:
    for name, spec in sorted(topology.cells.items()):
        if spec.policy.leased and name in leases and wanted(leases[name].writer):
            yield spec
