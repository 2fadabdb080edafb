"""Database and broker endpoints of this process, from the deployment document.

Guarantees that a process of a region uses its own region's servers, and that an operator's
command uses those of the control cell's current writer.
"""

from __future__ import annotations

from typing import Any

from regions.deployment import APP_ROLE, CONTROL_CELL, CONTROL_DATABASE, Deployment, RegionSite
from regions.topology import read_leases

ENGINE = "tenants.backend"
CONNECT_TIMEOUT_SECONDS = 2


def home_site(deployment: Deployment, region: str | None) -> RegionSite:
    """The region this process works in; for an operator, the control cell's writer's.

    Before the first lease is published, an operator works in the deployment's first region.
    """
    if region is not None:
        return deployment.region(region)
    lease = read_leases(deployment.map_dirs).get(CONTROL_CELL)
    if lease is not None and lease.writer in deployment.regions:
        return deployment.regions[lease.writer]
    return next(iter(deployment.regions.values()))


def control_database(deployment: Deployment | None, region: str | None) -> dict[str, Any]:
    """Django's entry for the control cell. Without a deployment it names nothing that exists:
    enough for lint, types and makemigrations, and a clear connection error for the rest."""
    entry: dict[str, Any] = {
        "ENGINE": ENGINE,
        "NAME": CONTROL_DATABASE,
        "USER": APP_ROLE,
        "CONN_MAX_AGE": 60,
        "OPTIONS": {
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "application_name": f"meridian@{region or 'operator'}",
        },
    }
    if deployment is not None:
        postgres = home_site(deployment, region).postgres
        entry |= {
            "HOST": postgres.host,
            "PORT": str(postgres.port),
            "PASSWORD": deployment.password(APP_ROLE),
        }
    return entry
