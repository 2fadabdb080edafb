"""What runs and what doesn't, as one document.

A region is up when its processes run, its PostgreSQL answers and its web says it is ready.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from infra.errors import NotRunning
from infra.fleet.control import ProcessStatus, Supervisor
from infra.fleet.plan import Plan
from infra.fleet.processes import SHARED
from infra.postgres.cluster import why_not_ready
from infra.wan.conditions import HEALTHY, read
from regions.deployment import ADMIN_ROLE, Deployment, RegionSite, load

WEB_SECONDS = 2.0


def status(plan: Plan) -> dict[str, Any]:
    """The whole status document. Raises NotRunning when there is no fleet to tell of."""
    path = plan.state / "deployment.json"
    if not path.exists():
        raise NotRunning(f"There is no fleet in {plan.state}: start one with `make up`.")
    deployment = load(path)
    supervisor = Supervisor(plan.state)
    processes = supervisor.processes() if supervisor.alive() else {}
    with ThreadPoolExecutor() as pool:
        regions = list(
            pool.map(
                lambda site: region_status(deployment, site, processes),
                deployment.regions.values(),
            )
        )
    conditions = read(plan.state)
    return {
        "edge": deployment.edge_url,
        "console": deployment.console_url,
        "running": bool(processes),
        "regions": regions,
        "links": [
            {
                "from": link.source,
                "to": link.target,
                "state": (now := conditions.get((link.source, link.target), HEALTHY)).label,
                "latency_ms": now.latency_ms,
            }
            for link in plan.links
        ],
        "shared": describe(processes, SHARED),
    }


def region_status(
    deployment: Deployment, site: RegionSite, processes: Mapping[str, ProcessStatus]
) -> dict[str, Any]:
    """One region, with the reason when it isn't up."""
    dsn = deployment.dsn(site.name, "postgres", ADMIN_ROLE)
    reason = _not_running(site.name, processes) or why_not_ready(dsn) or _not_serving(site)
    return {
        "name": site.name,
        "country": site.country,
        "jurisdiction": site.jurisdiction,
        "up": reason is None,
        "reason": reason,
        "web": site.web_url,
        "postgres": dsn,
        "valkey": site.valkey_url(),
        "processes": describe(processes, site.name),
    }


def describe(processes: Mapping[str, ProcessStatus], group: str) -> dict[str, str]:
    """The processes of a group with their states in one word."""
    return {
        name.partition(":")[2]: "frozen" if process.frozen else process.state.lower()
        for name, process in processes.items()
        if name.startswith(f"{group}:")
    }


def answers(url: str) -> str | None:
    """None if the address answers 200 now, or why it doesn't."""
    try:
        with urllib.request.urlopen(url, timeout=WEB_SECONDS):  # noqa: S310 - http on this machine
            return None
    except urllib.error.HTTPError as error:
        with error:
            return f"{url} answers {error.code}"
    except OSError as error:
        return f"{url} does not answer: {getattr(error, 'reason', error)}"


def _not_serving(site: RegionSite) -> str | None:
    return answers(f"{site.web_url}/healthz/ready")


def _not_running(group: str, processes: Mapping[str, ProcessStatus]) -> str | None:
    mine = [process for name, process in processes.items() if name.startswith(f"{group}:")]
    idle = [process for process in mine if not process.running]
    if not mine:
        return "the fleet is not running"
    if not idle:
        return None
    return ", ".join(
        f"{process.id} is {'frozen' if process.frozen else process.state.lower()}"
        for process in idle
    )
