"""Which cells a region would lose its writer of, and who may take them. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import psycopg

from regions.deployment import AGENT_ROLE, CONTROL_DATABASE, Deployment
from regions.errors import NoWriter, ResidencyDenied, SwitchoverFailed
from regions.failover.aside import aside_now, worked_on
from regions.topology import CellSpec, Lease, Topology, read_leases

SUCCESSION_SECONDS = 4.0  # until another takes what was reserved for one who did not
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """Where one cell's writer goes; `target` is None where no lawful region can take it."""

    spec: CellSpec
    source: str | None
    target: str | None
    reason: str


def writer_of(deployment: Deployment, spec: CellSpec) -> str | None:
    """The region that writes the cell, by the newest lease that any region has published."""
    return _writer_in(read_leases(deployment.map_dirs), spec)


def _writer_in(leases: Mapping[str, Lease], spec: CellSpec) -> str | None:
    lease = leases.get(spec.name)
    return lease.writer if lease else None


def await_writers(deployment: Deployment, specs: Iterable[CellSpec]) -> None:
    """Return when each of these leased cells has a writer, or should have got one long ago: one
    that is between two writers would be passed over, and might come back."""
    names = {spec.name for spec in specs if spec.policy.leased}
    deadline = time.monotonic() + deployment.lease_ttl_seconds + SUCCESSION_SECONDS
    while names - read_leases(deployment.map_dirs).keys() and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def plan_failover(
    deployment: Deployment,
    topology: Topology,
    region: str,
    *,
    to: str | None = None,
    reachable: Callable[[str], bool] | None = None,
    aside: Collection[str] | None = None,
) -> list[Plan]:
    """What failing `region` over would move: candidates are lawful (the cell has a replica
    there: rule B05), reachable, and in the cell's order of preference; those that are being
    worked on come last, because a dark cell is worse.

    Raises UnknownRegion, or ResidencyDenied if `to` may not hold a cell that has to move.
    """
    deployment.region(region)
    if to is not None:
        deployment.region(to)
    if reachable is None:
        reachable = partial(answers, deployment)
    if aside is None:
        aside = aside_now(deployment)
    there = cache(reachable)  # many cells, few regions
    leases = read_leases(deployment.map_dirs)
    plans = []
    for spec in topology.cells.values():
        if not spec.policy.leased or region not in spec.regions:
            continue
        source = _writer_in(leases, spec)
        if source not in (region, None):
            continue
        if to is not None and to not in spec.regions:
            raise unlawful(spec, to)
        others = [name for name in spec.regions if name != region]
        wanted = [to] if to else sorted(others, key=lambda name: name in aside)
        target = next((name for name in wanted if there(name)), None)
        reason = (
            f"{target} is the preferred lawful region that answers."
            if target
            else "B06: no other lawful region answers. The cell is not written anywhere "
            f"else; its regions: {', '.join(spec.regions)}."
        )
        plans.append(Plan(spec, source, target, reason))
    return plans


def plan_switchover(deployment: Deployment, topology: Topology, cell: str, to: str) -> Plan:
    """What a switchover would move. Raises UnknownCell, UnknownRegion, ResidencyDenied, NoWriter,
    SwitchoverFailed."""
    spec = topology.cell(cell)
    deployment.region(to)
    if to not in spec.regions:
        raise unlawful(spec, to)
    if not spec.policy.leased:
        raise SwitchoverFailed(f"{cell} is {spec.policy}: every region writes it.")
    if to in aside_now(deployment):
        raise SwitchoverFailed(worked_on(to))
    source = writer_of(deployment, spec)
    if source is None:
        raise NoWriter(f"{cell} has no writer now: use `region failover`, or wait for one.")
    return Plan(spec, source, to, f"{to} writes {cell} already." if source == to else "asked for")


def already_elsewhere(
    deployment: Deployment, topology: Topology, region: str, plans: Sequence[Plan]
) -> list[dict[str, Any]]:
    """Cells that had left `region` by themselves before anybody asked."""
    planned = {plan.spec.name for plan in plans}
    leases = read_leases(deployment.map_dirs)
    return [
        {"cell": spec.name, "writer": _writer_in(leases, spec)}
        for spec in topology.cells.values()
        if spec.policy.leased and region in spec.regions and spec.name not in planned
    ]


def unlawful(spec: CellSpec, to: str) -> ResidencyDenied:
    return ResidencyDenied(
        f"B05: {spec.name} may be written in {', '.join(spec.regions)} only; it has no replica "
        f"in {to}, and none may be made there. Nothing was changed."
    )


def answers(deployment: Deployment, region: str) -> bool:
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
