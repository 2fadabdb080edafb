"""The demo tenants: one for each tenancy mode, each made once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from infra.fleet.commands import manage_json
from infra.fleet.plan import Plan
from infra.fleet.progress import Progress
from infra.fleet.state import write_json
from regions.deployment import load
from regions.topology import read_leases

FILE = "demo.json"


@dataclass(frozen=True, slots=True)
class DemoTenant:
    slug: str
    mode: str
    residency: str


def demo_tenants(plan: Plan) -> tuple[DemoTenant, ...]:
    """One tenant a mode; the dedicated one is American where there is a region for it."""
    jurisdictions = {region.jurisdiction for region in plan.regions}
    return (
        DemoTenant("acme", "shared", "EU"),
        DemoTenant("globex", "schema", "EU"),
        DemoTenant("initech", "dedicated", "US" if "US" in jurisdictions else "EU"),
    )


def known(plan: Plan) -> list[dict[str, Any]]:
    """The demo tenants that were onboarded, with their tokens and the writers of today."""
    try:
        found: list[dict[str, Any]] = json.loads((plan.state / FILE).read_text())
    except FileNotFoundError:
        return []
    leases = read_leases(load(plan.state / "deployment.json").map_dirs)
    for tenant in found:
        if lease := leases.get(tenant["cell"]):
            tenant["writer"] = lease.writer
    return found


def onboard(plan: Plan, progress: Progress) -> bool:
    """Make the demo tenants that don't exist; whether any was made."""
    done = {tenant["slug"]: tenant for tenant in known(plan)}
    missing = [tenant for tenant in demo_tenants(plan) if tenant.slug not in done]
    if not missing:
        return False
    existing = {tenant["slug"] for tenant in _listed(plan)}
    for tenant in missing:
        with progress.step(f"Tenant {tenant.slug} ({tenant.mode}, {tenant.residency})") as say:
            if tenant.slug in existing:
                shown = manage_json(plan, "tenant", "show", tenant.slug)
                token = manage_json(plan, "tenant", "token", tenant.slug)
                done[tenant.slug] = {**shown, "api_token": token["api_token"]}
            else:
                done[tenant.slug] = manage_json(
                    plan,
                    *("tenant", "create", tenant.slug),
                    *("--mode", tenant.mode, "--residency", tenant.residency),
                    say=say,
                )
        write_json(plan.state / FILE, list(done.values()), mode=0o600)
    return True


def _listed(plan: Plan) -> Iterator[dict[str, Any]]:
    document = manage_json(plan, "tenant", "list")
    yield from document if isinstance(document, list) else document["tenants"]
