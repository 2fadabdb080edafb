"""What operators do with writers: switchover, failover, evacuate, drain, failback; each measured.

An operation only asks: it leaves a request with a region's agent and watches. So two operators
who press at once, or one who presses twice, do no harm: the lease decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from regions.deployment import Deployment
from regions.errors import NoWriter, SwitchoverFailed
from regions.failover.ask import ASK_SECONDS, Asking, may_write
from regions.failover.draining import AT_ONCE, Drained, carry_out
from regions.failover.plan import (
    Plan,
    already_elsewhere,
    await_writers,
    plan_failover,
    plan_switchover,
    writer_of,
)
from regions.failover.probes import Probes
from regions.failover.wishes import OVERTAKEN
from regions.replication.status import cell_status
from regions.topology import CellSpec, Topology

Progress = Callable[[str], None]

WARM_UP_SECONDS = 0.3
SETTLE_SECONDS = 0.3
EDGE_SECONDS = 5.0  # until a write through the edge is acknowledged, once the gate is open
LOOK_SECONDS = 0.02
CONVERGED_SECONDS = 5.0  # where nothing is written heartbeats come each three seconds


def failover(
    deployment: Deployment,
    topology: Topology,
    region: str,
    *,
    actor: str,
    progress: Progress,
    to: str | None = None,
) -> dict[str, Any]:
    """Move every writer out of `region`, alive or lost. Measured through the edge.

    Raises UnknownRegion, ResidencyDenied; NoWriter if there are cells that no region could take.
    """
    plans = plan_failover(deployment, topology, region, to=to)
    moved = _move_all(deployment, plans, forced=True, actor=actor, progress=progress)
    document = _summary(
        region, moved, already=already_elsewhere(deployment, topology, region, plans)
    )
    stuck = [plan for plan in plans if plan.target is None]
    if stuck and not moved:
        raise NoWriter(" ".join(f"{plan.spec.name}: {plan.reason}" for plan in stuck))
    document["dark"] = [{"cell": plan.spec.name, "reason": plan.reason} for plan in stuck]
    return document


def switchover(
    deployment: Deployment,
    topology: Topology,
    cell: str,
    to: str,
    *,
    actor: str,
    progress: Progress,
) -> dict[str, Any]:
    """Move one cell's writer to `to` without losing a write.

    Raises UnknownCell, UnknownRegion, ResidencyDenied, NoWriter, SwitchoverFailed.
    """
    await_writers(deployment, [topology.cell(cell)])
    plan = plan_switchover(deployment, topology, cell, to)
    if plan.source == to:
        return _document(plan.spec, to, to, 0.0, 0, 0.0, [plan.reason])
    with closing(Asking(deployment, by=actor)) as asking:
        return _move(asking, plan, forced=False, actor=actor, progress=progress)


def evacuate(
    deployment: Deployment,
    plans: Sequence[Plan],
    region: str,
    *,
    step: int | None = None,
    actor: str,
    progress: Progress,
) -> dict[str, Any]:
    """Switch over what `region` writes, as planned, `step` cells at a time; RPO 0. What could not
    be moved is in the document, with the reason."""

    with closing(Asking(deployment, by=actor)) as asking:

        def move(plan: Plan) -> dict[str, Any]:
            return _move(asking, plan, forced=False, actor=actor, progress=progress)

        return _drained(region, plans, carry_out(plans, move, step=step))


def together(region: str, documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of several evacuations after each other: all that moved, and what the last one left."""
    moved = [cell for document in documents for cell in document["cells"]]
    return {**documents[-1], **_summary(region, moved)}


def failback_all(
    deployment: Deployment,
    plans: Sequence[Plan],
    region: str,
    *,
    step: int | None = None,
    patience: float,
    actor: str,
    progress: Progress,
) -> dict[str, Any]:
    """Switch over to `region` what has its home there, each once it has caught up."""

    with closing(Asking(deployment, by=actor)) as asking:

        def move(plan: Plan) -> dict[str, Any]:
            await_converged(deployment, plan.spec, region, patience, progress)
            return _move(asking, plan, forced=False, actor=actor, progress=progress)

        return _drained(region, plans, carry_out(plans, move, step=step))


def failback(
    deployment: Deployment,
    topology: Topology,
    cell: str,
    *,
    patience: float,
    actor: str,
    progress: Progress,
) -> dict[str, Any]:
    """Switch a cell over to its home, the first of its regions, once that has caught up."""
    spec = topology.cell(cell)
    home = spec.regions[0]
    await_writers(deployment, [spec])
    if spec.policy.leased and writer_of(deployment, spec) not in (home, None):
        await_converged(deployment, spec, home, patience, progress)
    return switchover(deployment, topology, cell, home, actor=actor, progress=progress)


def await_converged(
    deployment: Deployment, spec: CellSpec, region: str, patience: float, progress: Progress
) -> None:
    """Return when `region` has nearly all that the others wrote. Raises SwitchoverFailed."""
    deadline = time.monotonic() + patience
    told = ""
    while (missing := _behind(deployment, spec, region)) is not None:
        if time.monotonic() > deadline:
            raise SwitchoverFailed(
                f"{missing} It has not caught up within {patience:g} s; {spec.name} stays where it "
                "is. Repeat the command, or --wait longer."
            )
        if not told:
            told = missing
            progress(f"{spec.name}: waiting: {missing}")
        time.sleep(0.5)


def _behind(deployment: Deployment, spec: CellSpec, region: str) -> str | None:
    """What keeps it from taking over without a wait."""
    replicas = cell_status(deployment, spec)["replicas"]
    here = next(one for one in replicas if one["region"] == region)
    if not here["up"]:
        return f"{region} does not answer."
    lag = here["lag_seconds"]
    if lag is None:
        return f"How far {region} is behind is not known."
    return f"{region} is {lag:.0f} s behind." if lag > CONVERGED_SECONDS else None


def _move_all(
    deployment: Deployment,
    plans: Sequence[Plan],
    *,
    forced: bool,
    actor: str,
    progress: Progress,
) -> list[dict[str, Any]]:
    possible = [plan for plan in plans if plan.target is not None]
    if not possible:
        return []
    workers = min(AT_ONCE, len(possible))
    with (
        closing(Asking(deployment, by=actor)) as asking,
        ThreadPoolExecutor(max_workers=workers) as pool,
    ):
        return list(
            pool.map(
                lambda plan: _move(asking, plan, forced=forced, actor=actor, progress=progress),
                possible,
            )
        )


def _move(
    asking: Asking, plan: Plan, *, forced: bool, actor: str, progress: Progress
) -> dict[str, Any]:
    spec, source, target = plan.spec, plan.source, plan.target
    assert target is not None  # noqa: S101 - callers plan a target
    events: list[str] = []
    began = time.monotonic()

    def tell(what: str) -> None:
        events.append(f"{time.monotonic() - began:6.3f} s  {what}")
        progress(f"{spec.name}: {what}")

    deployment = asking.deployment
    with Probes(deployment, spec) as probes:
        time.sleep(WARM_UP_SECONDS)
        started = time.monotonic()
        tell(f"{actor} asks for {source or 'nobody'} → {target}: {plan.reason}")
        asked = source is not None and asking.holder(spec, source, target, forced=forced, tell=tell)
        if not asked:
            tell(f"{source or 'no region'} does not answer: waiting for its lease to end")
            asking.request(spec, target, target, "take", forced=True)
        deadline = time.monotonic() + ASK_SECONDS + deployment.lease_ttl_seconds + EDGE_SECONDS
        while probes.first_from(target, after=started) is None and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        time.sleep(SETTLE_SECONDS)
    first = probes.first_from(target, after=started)
    if first is None:
        writer = writer_of(deployment, spec)
        if writer not in (source, target, None):
            raise SwitchoverFailed(f"{OVERTAKEN}{writer} writes {spec.name} now.")
        raise SwitchoverFailed(
            f"{target} writes {spec.name}, but no write through the edge was acknowledged yet."
            if may_write(deployment, spec, target)
            else f"{target} did not get the lease on {spec.name}: its present holder still renews "
            "it, or no majority of regions can be reached. Nothing was lost."
        )
    last = probes.last_not_from(target)
    tell(f"first write through the edge acknowledged by {target}")
    paused = first.at - (last.at if last else started)
    return _document(
        spec, source, target, first.at - started, probes.missing_in(target), paused, events
    )


def _document(
    spec: CellSpec,
    source: str | None,
    target: str,
    rto: float,
    rpo: int,
    paused: float,
    events: list[str],
) -> dict[str, Any]:
    return {
        "cell": spec.name,
        "from": source,
        "to": target,
        "rto_seconds": round(rto, 3),
        "rpo_writes": rpo,
        "pause_ms": round(paused * 1000),
        "events": events,
    }


def _summary(
    region: str, moved: list[dict[str, Any]], already: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """One document for several cells: the slowest stands for all, losses are added up."""
    slowest = max(moved, key=lambda one: one["rto_seconds"], default=None)
    return {
        "cell": slowest["cell"] if slowest else None,
        "from": region,
        "to": slowest["to"] if slowest else None,
        "rto_seconds": slowest["rto_seconds"] if slowest else 0.0,
        "rpo_writes": sum(one["rpo_writes"] for one in moved),
        "pause_ms": max((one["pause_ms"] for one in moved), default=0),
        "events": [f"{one['cell']}: {event.strip()}" for one in moved for event in one["events"]],
        "cells": moved,
        "already_elsewhere": list(already),
    }


def _drained(region: str, plans: Sequence[Plan], done: Drained) -> dict[str, Any]:
    return {
        **_summary(region, done.moved),
        "failed": done.failed,
        "left": done.left,
        "remain": [
            {"cell": plan.spec.name, "reason": plan.reason} for plan in plans if plan.target is None
        ],
        "refusal": done.refusal,
    }
