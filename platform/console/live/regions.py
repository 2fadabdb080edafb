"""Is a region up? Asks its PostgreSQL (over the link from here), its web server and its agent.

Guarantees no Django: probes run in threads of their own, with their own short-lived
connections.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg

from console.live.probing import Answer
from regions.deployment import APP_ROLE, CONTROL_DATABASE, Deployment, RegionSite
from regions.topology import CellSpec, Lease

CONNECT_SECONDS = 2


@dataclass(frozen=True, slots=True)
class RegionLive:
    """One region as seen from here. `state` is up, degraded or down."""

    name: str
    country: str
    jurisdiction: str
    state: str
    reason: str
    postgres_ms: float | None
    web: bool
    agent_published: datetime | None
    writes: tuple[str, ...]


def ping_postgres(deployment: Deployment, region: str, seen_from: str | None) -> float:
    """Milliseconds of one query on an open connection. Raises psycopg.Error when it is down."""
    dsn = deployment.dsn(region, CONTROL_DATABASE, APP_ROLE, seen_from=seen_from)
    with psycopg.connect(dsn, connect_timeout=CONNECT_SECONDS, autocommit=True) as connection:
        started = time.perf_counter()
        connection.execute("SELECT 1")
        return (time.perf_counter() - started) * 1000


def ping_web(site: RegionSite) -> bool:
    try:
        return httpx.get(f"{site.web_url}/healthz/live", timeout=1.0).status_code == 200
    except httpx.HTTPError:
        return False


def agent_published(map_dir: Path) -> datetime | None:
    """When the region's agent last changed its leases file; None when it never wrote one.

    It writes on change only, so an old moment means quiet, not silence.
    """
    try:
        written = (map_dir / "leases.json").stat().st_mtime
    except OSError:
        return None
    return datetime.fromtimestamp(written, UTC)


def written_in(
    region: str, cells: Iterable[CellSpec], leases: Mapping[str, Lease]
) -> tuple[str, ...]:
    """The cells that this region writes: by lease, or because every region of the cell does."""
    return tuple(
        cell.name
        for cell in cells
        if (
            cell.name in leases and leases[cell.name].writer == region
            if cell.policy.leased
            else region in cell.regions
        )
    )


def judge(
    site: RegionSite,
    postgres: Answer[float],
    web: Answer[bool],
    published: datetime | None,
    writes: tuple[str, ...],
) -> RegionLive:
    """Up when PostgreSQL and web answer and the agent has published; down without PostgreSQL."""
    reasons = []
    if postgres.problem:
        reasons.append(f"PostgreSQL: {postgres.problem}")
    if not web.value:
        reasons.append("web does not answer")
    if published is None:
        reasons.append("agent has published nothing yet")
    state = "down" if postgres.problem else "degraded" if reasons else "up"
    return RegionLive(
        name=site.name,
        country=site.country,
        jurisdiction=site.jurisdiction,
        state=state,
        reason="; ".join(reasons),
        postgres_ms=postgres.value,
        web=bool(web.value),
        agent_published=published,
        writes=() if state == "down" else writes,
    )
