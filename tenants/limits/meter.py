"""Measures the cells of one region, and tells their databases who is over the quota.

Guarantees that measuring takes at most a twentieth of the time, that one process at a time does
it for a cell, and that a changed limit is in force within a second of reaching the region,
without measuring anew.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import psycopg

from regions.deployment import AGENT_ROLE, Deployment
from regions.topology import CellSpec
from tenants.directory import TenantRecord
from tenants.isolation import quota
from tenants.isolation.modes import isolation_of
from tenants.isolation.quota import Excess
from tenants.limits.counts import Counts
from tenants.limits.judge import Held, worst
from tenants.limits.measure import Connection, measure

ROUND_SECONDS = 5.0
SHARE = 20
LONGEST_ROUND_SECONDS = 300.0
JUDGED = "judged"


def meter_cell(
    deployment: Deployment,
    region: str,
    spec: CellSpec,
    tenants: Sequence[TenantRecord],
    counts: Counts,
) -> bool:
    """Measure the cell's replica in the region, unless that was done just now; whether it was."""
    turn = f"meter:{spec.name}"
    if not tenants or not counts.claim(turn, LONGEST_ROUND_SECONDS):
        return False
    began = time.monotonic()
    try:
        with _agent(deployment, region, spec) as agent:
            if not quota.installed(agent):
                isolation_of(spec).ensure_quotas(region)
            counts.hold(measure(agent, spec, tenants))
            held = counts.held([tenant.id for tenant in tenants])  # with the files
            quota.publish(agent, excesses(tenants, held))
        counts.warn(spec.name, warnings(tenants, held))
    finally:
        taken = time.monotonic() - began
        counts.again_in(turn, min(max(ROUND_SECONDS, SHARE * taken), LONGEST_ROUND_SECONDS))
    return True


def judge_again(
    deployment: Deployment,
    region: str,
    cells: Iterable[CellSpec],
    tenants: Sequence[TenantRecord],
    counts: Counts,
) -> bool:
    """Put changed quotas in force, from what was measured last; whether there were any."""
    quotas = sorted((str(t.id), t.limits.rows, t.limits.bytes) for t in tenants if t.limits.quota)
    digest = hashlib.sha256(repr(quotas).encode()).hexdigest()
    if counts.noted(JUDGED) == digest:
        return False
    held = counts.held([tenant.id for tenant in tenants])
    for spec in cells:
        with _agent(deployment, region, spec) as agent:
            own = [tenant for tenant in tenants if tenant.cell == spec.name]
            if quota.installed(agent):
                quota.publish(agent, excesses(own, held))
            counts.warn(spec.name, warnings(own, held))
    counts.note(JUDGED, digest)
    return True


def excesses(tenants: Sequence[TenantRecord], held: Mapping[UUID, Held]) -> list[Excess]:
    """Those who may add nothing more. Pure."""
    found = []
    for tenant in tenants:
        if tenant.limits.quota and tenant.id in held:
            standing = worst(held[tenant.id], tenant.limits)
            if standing is not None and standing.state == "over":
                found.append(
                    Excess(
                        tenant.id,
                        tenant.schema,
                        standing.what,
                        standing.used,
                        standing.allowed,
                        standing.no_updates,
                    )
                )
    return found


def warnings(tenants: Sequence[TenantRecord], held: Mapping[UUID, Held]) -> dict[UUID, str]:
    """Those who are near or over a quota: `rows=83%`. Pure."""
    found = {}
    for tenant in tenants:
        if tenant.limits.quota and tenant.id in held:
            standing = worst(held[tenant.id], tenant.limits)
            if standing is not None and standing.state != "ok":
                found[tenant.id] = f"{standing.what}={int(100 * standing.share)}%"
    return found


def _agent(deployment: Deployment, region: str, spec: CellSpec) -> Connection:
    dsn = deployment.dsn(region, spec.database, AGENT_ROLE)
    return psycopg.connect(dsn, autocommit=True, connect_timeout=5)
