"""Waits until a tenant answers wherever it should: in each of its cell's regions and at the edge.

A part that isn't running (a region that is down, a deployment without web servers) is not waited
for: it catches up from its map when it starts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx

from regions.current import deployment
from regions.topology import CellSpec
from tenants.directory import TenantRecord
from tenants.errors import ProvisioningFailed

PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 0.05


def wait_until_usable(tenant: TenantRecord, spec: CellSpec) -> None:
    """Raises ProvisioningFailed, naming where the tenant is still unknown."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with httpx.Client(timeout=2.0, headers={"Host": tenant.hosts[0]}, trust_env=False) as client:
        for place, url in _places(spec):
            while (answer := _answer(client, f"{url}/healthz/tenant", spec)) != "usable":
                if answer == "not running":
                    break
                if time.monotonic() > deadline:
                    raise ProvisioningFailed(
                        f"Tenant {tenant.slug!r} is ready, but {place} doesn't serve it after "
                        f"{PATIENCE_SECONDS:g} s ({answer}): see that region's agent log."
                    )
                time.sleep(PAUSE_SECONDS)


def _places(spec: CellSpec) -> Iterator[tuple[str, str]]:
    for region in spec.regions:
        yield region, deployment().region(region).web_url
    yield "the edge", deployment().edge_url


def _answer(client: httpx.Client, url: str, spec: CellSpec) -> str:
    try:
        response = client.get(url)
    except httpx.ConnectError:
        return "not running"
    except httpx.HTTPError as error:
        return type(error).__name__
    if response.status_code != 200:
        return f"status {response.status_code}"
    known = response.json()
    if known.get("cell") != spec.name:
        return f"it still looks for it in cell {known.get('cell')}"
    if spec.policy.leased and known.get("writer") is None:
        return "no region has the cell's lease yet"
    return "usable"
