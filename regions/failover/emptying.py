"""A region is emptied of writers, perhaps to be worked on, and later filled with its own again.

What there is to do is read from the map each time: whoever was stopped, or of whom a part failed,
repeats it. Nothing here is pure; the plans themselves are (`draining`).
"""

from __future__ import annotations

from typing import Any

from regions.deployment import Deployment
from regions.failover import operations
from regions.failover.aside import aside_now, last_word, stand_aside
from regions.failover.ask import await_arrivals
from regions.failover.draining import plan_evacuation, plan_failback
from regions.failover.operations import Progress
from regions.failover.plan import Plan, answers, await_writers
from regions.topology import CellSpec, Topology, read_leases


def evacuation(deployment: Deployment, topology: Topology, region: str) -> list[Plan]:
    """What emptying `region` would move now. Raises UnknownRegion."""
    deployment.region(region)
    aside = aside_now(deployment)
    return plan_evacuation(
        topology,
        read_leases(deployment.map_dirs),
        region,
        lambda name: name not in aside and answers(deployment, name),
    )


def homecoming(
    deployment: Deployment, topology: Topology, region: str, *, returning: bool = False
) -> list[Plan]:
    """What would be switched over to `region`, its home. `returning`: as if it did not stand aside
    any more. Raises UnknownRegion."""
    deployment.region(region)
    there = (returning or region not in aside_now(deployment)) and answers(deployment, region)
    return plan_failback(topology, read_leases(deployment.map_dirs), region, lambda _: there)


def empty(
    deployment: Deployment,
    topology: Topology,
    region: str,
    *,
    step: int | None,
    aside: bool,
    actor: str,
    progress: Progress,
) -> dict[str, Any]:
    """Switch over every cell that `region` writes, `step` at a time; RPO 0. With `aside` it takes
    no lease, from before the first switchover on, that another region can have."""
    deployment.region(region)
    how: dict[str, Any] = {"step": step, "actor": actor, "progress": progress}
    await_writers(deployment, _in(topology, region))
    if not aside:
        plans = evacuation(deployment, topology, region)
        return operations.evacuate(deployment, plans, region, **how)
    stand_aside(deployment, region, True, by=actor)
    progress(f"{region} takes no lease that another region can have")
    return _empty_aside(deployment, topology, region, **how)


def _empty_aside(
    deployment: Deployment, topology: Topology, region: str, **how: Any
) -> dict[str, Any]:
    """Also of what was on its way there when it stood aside. It is said if it does so no more."""
    documents = []
    plans = evacuation(deployment, topology, region)
    while True:
        documents.append(operations.evacuate(deployment, plans, region, **how))
        await_arrivals(deployment, region)
        plans = evacuation(deployment, topology, region)
        if documents[-1]["refusal"] or not any(plan.target for plan in plans):
            break
    document = operations.together(region, documents)
    document["aside"] = region in aside_now(deployment)
    if not document["aside"]:
        who = last_word(deployment, region)
        document["refusal"] = f"{region} stands aside no more: {who} has ended its maintenance."
    return document


def bring_home(
    deployment: Deployment,
    topology: Topology,
    region: str,
    *,
    step: int | None,
    patience: float,
    actor: str,
    progress: Progress,
) -> dict[str, Any]:
    """Switch over to `region` what has its home there, each cell once it has caught up."""
    deployment.region(region)
    await_writers(deployment, _in(topology, region))
    plans = homecoming(deployment, topology, region)
    return operations.failback_all(
        deployment, plans, region, step=step, patience=patience, actor=actor, progress=progress
    )


def _in(topology: Topology, region: str) -> list[CellSpec]:
    """What it could write."""
    return [spec for spec in topology.cells.values() if region in spec.regions]
