"""What operators do with writers: switchover, failover, evacuate, failback; each measured.

An operation only asks: it leaves a request with a region's agent and watches. So two operators
who press at once, or one who presses twice, do no harm: the lease decides.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psycopg

from regions.deployment import AGENT_ROLE, CONTROL_DATABASE, Deployment
from regions.errors import NoWriter, ResidencyDenied, SwitchoverFailed
from regions.failover.probes import Probes
from regions.topology import CellSpec, Topology, read_leases

Progress = Callable[[str], None]

ASK_SECONDS = 12.0
WARM_UP_SECONDS = 0.3
SETTLE_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Plan:
    """Where one cell's writer goes; `target` is None where no lawful region can take it."""

    spec: CellSpec
    source: str | None
    target: str | None
    reason: str


def writer_of(deployment: Deployment, spec: CellSpec) -> str | None:
    """The region that writes the cell, by the newest lease that any region has published."""
    lease = read_leases(site.map_dir for site in deployment.regions.values()).get(spec.name)
    return lease.writer if lease else None


def plan_failover(
    deployment: Deployment,
    topology: Topology,
    region: str,
    *,
    to: str | None = None,
    reachable: Callable[[str], bool] | None = None,
) -> list[Plan]:
    """What failing `region` over would move: candidates are lawful (the cell has a replica
    there: rule B05), reachable, and in the cell's order of preference.

    Raises UnknownRegion, or ResidencyDenied if `to` may not hold a cell that has to move.
    """
    deployment.region(region)
    if to is not None:
        deployment.region(to)
    answers = reachable or (lambda name: _answers(deployment, name))
    plans = []
    for spec in topology.cells.values():
        if not spec.policy.leased or region not in spec.regions:
            continue
        source = writer_of(deployment, spec)
        if source not in (region, None):
            continue
        if to is not None and to not in spec.regions:
            raise _unlawful(spec, to)
        wanted = [to] if to else [name for name in spec.regions if name != region]
        target = next((name for name in wanted if answers(name)), None)
        reason = (
            f"{target} is the preferred lawful region that answers."
            if target
            else "B06: no lawful region answers. The cell stays down rather than be written "
            f"elsewhere; its regions: {', '.join(spec.regions)}."
        )
        plans.append(Plan(spec, source, target, reason))
    return plans


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
    document = _summary(region, moved, already=_already(deployment, topology, region, plans))
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
    spec = topology.cell(cell)
    deployment.region(to)
    if to not in spec.regions:
        raise _unlawful(spec, to)
    if not spec.policy.leased:
        raise SwitchoverFailed(f"{cell} is {spec.policy}: every region writes it.")
    source = writer_of(deployment, spec)
    if source is None:
        raise NoWriter(f"{cell} has no writer now: use `region failover`, or wait for one.")
    if source == to:
        return _document(spec, source, to, 0.0, 0, 0.0, [f"{to} writes {cell} already."])
    plan = Plan(spec, source, to, "asked for")
    return _move(deployment, plan, forced=False, actor=actor, progress=progress)


def evacuate(
    deployment: Deployment, topology: Topology, region: str, *, actor: str, progress: Progress
) -> dict[str, Any]:
    """Switch every cell that `region` writes over to another of its regions; RPO 0."""
    plans = plan_failover(deployment, topology, region)
    return _summary(
        region, _move_all(deployment, plans, forced=False, actor=actor, progress=progress)
    )


def failback(
    deployment: Deployment, topology: Topology, cell: str, *, actor: str, progress: Progress
) -> dict[str, Any]:
    """Switch a cell over to its home, the first of its regions."""
    home = topology.cell(cell).regions[0]
    return switchover(deployment, topology, cell, home, actor=actor, progress=progress)


def _unlawful(spec: CellSpec, to: str) -> ResidencyDenied:
    return ResidencyDenied(
        f"B05: {spec.name} may be written in {', '.join(spec.regions)} only; it has no replica "
        f"in {to}, and none may be made there. Nothing was changed."
    )


def _answers(deployment: Deployment, region: str) -> bool:
    try:
        with psycopg.connect(
            deployment.dsn(region, CONTROL_DATABASE, AGENT_ROLE),
            connect_timeout=2,
            options="-c statement_timeout=2s",
        ) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


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
    with ThreadPoolExecutor(max_workers=min(8, len(possible))) as pool:
        return list(
            pool.map(
                lambda plan: _move(deployment, plan, forced=forced, actor=actor, progress=progress),
                possible,
            )
        )


def _move(
    deployment: Deployment, plan: Plan, *, forced: bool, actor: str, progress: Progress
) -> dict[str, Any]:
    spec, source, target = plan.spec, plan.source, plan.target
    assert target is not None  # noqa: S101 - callers plan a target
    events: list[str] = []
    began = time.monotonic()

    def tell(what: str) -> None:
        events.append(f"{time.monotonic() - began:6.3f} s  {what}")
        progress(f"{spec.name}: {what}")

    with Probes(deployment, spec) as probes:
        time.sleep(WARM_UP_SECONDS)
        started = time.monotonic()
        tell(f"{actor} asks for {source or 'nobody'} → {target}: {plan.reason}")
        asked = source is not None and _ask_holder(
            deployment, spec, source, target, forced=forced, tell=tell
        )
        if not asked:
            tell(f"{source or 'no region'} does not answer: waiting for its lease to end")
            _request(deployment, spec, target, target, "take", forced=True)
        _await_gate(deployment, spec, target)
        tell(f"{target} may write")
        deadline = time.monotonic() + 5
        while probes.first_from(target, after=started) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(SETTLE_SECONDS)
    first = probes.first_from(target, after=started)
    if first is None:
        raise SwitchoverFailed(
            f"{target} writes {spec.name}, but no write through the edge was acknowledged yet."
        )
    last = probes.last_not_from(target)
    tell(f"first write through the edge acknowledged by {target}")
    paused = first.at - (last.at if last else started)
    return _document(
        spec, source, target, first.at - started, probes.missing_in(target), paused, events
    )


def _ask_holder(
    deployment: Deployment,
    spec: CellSpec,
    source: str,
    target: str,
    *,
    forced: bool,
    tell: Progress,
) -> bool:
    """Have the holder's agent hand over. False: nobody there to ask (only when forced)."""
    try:
        outcome = _request(deployment, spec, source, target, "hand_over", forced=forced)
    except psycopg.OperationalError as error:
        if forced:
            return False
        raise SwitchoverFailed(f"{source} cannot be reached: {error}") from error
    if outcome == "done":
        tell(f"{source} fenced itself, drained and let go")
        return True
    if not forced:
        raise SwitchoverFailed(
            f"{outcome or f'{source} did not answer.'} {source} goes on writing."
        )
    return False


def _request(
    deployment: Deployment,
    spec: CellSpec,
    region: str,
    target: str,
    kind: str,
    *,
    forced: bool,
) -> str | None:
    """Leave a request with `region`'s agent; for a hand-over, wait for its outcome."""
    identity = uuid.uuid4()
    with psycopg.connect(
        deployment.dsn(region, CONTROL_DATABASE, AGENT_ROLE),
        autocommit=True,
        connect_timeout=2,
        options="-c statement_timeout=2s",
    ) as connection:
        connection.execute(
            "INSERT INTO lease.request (id, cell, target, kind, forced)"
            " VALUES (%s, %s, %s, %s, %s)",
            (identity, spec.name, target, kind, forced),
        )
        deadline = time.monotonic() + (ASK_SECONDS if kind == "hand_over" else 0)
        while time.monotonic() < deadline:
            row = connection.execute(
                "SELECT outcome FROM lease.request WHERE id = %s", (identity,)
            ).fetchone()
            if row and row[0]:
                return str(row[0])
            time.sleep(0.02)
    return None


def _await_gate(deployment: Deployment, spec: CellSpec, target: str) -> None:
    deadline = time.monotonic() + ASK_SECONDS + deployment.lease_ttl_seconds
    with psycopg.connect(
        deployment.dsn(target, spec.database, AGENT_ROLE), autocommit=True, connect_timeout=2
    ) as connection:
        while time.monotonic() < deadline:
            row = connection.execute("SELECT fabric.may_write()").fetchone()
            if row and row[0]:
                return
            time.sleep(0.01)
    raise SwitchoverFailed(
        f"{target} did not get the lease on {spec.name}: its present holder still renews it, or "
        "no majority of regions can be reached. Nothing was lost."
    )


def _already(
    deployment: Deployment, topology: Topology, region: str, plans: Sequence[Plan]
) -> list[dict[str, Any]]:
    """Cells that had left `region` by themselves before anybody asked."""
    planned = {plan.spec.name for plan in plans}
    return [
        {"cell": spec.name, "writer": writer_of(deployment, spec)}
        for spec in topology.cells.values()
        if spec.policy.leased and region in spec.regions and spec.name not in planned
    ]


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
        "events": [event for one in moved for event in one["events"]],
        "cells": moved,
        "already_elsewhere": list(already),
    }
