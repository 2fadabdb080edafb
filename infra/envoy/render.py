"""Everything Envoy reads, as documents by file name. Pure.

`bootstrap.json` is fixed for a fleet; `clusters.json`, `listeners.json` and `routes.json` are
watched and may be replaced at any time.
"""

from __future__ import annotations

from pathlib import Path

from infra.envoy.clusters import Resource, Targets, address, clusters
from infra.envoy.listener import listener
from infra.envoy.maps import RoutingMap
from infra.envoy.routes import route_table

BOOTSTRAP = "bootstrap.json"
CLUSTERS = "clusters.json"
LISTENERS = "listeners.json"
ROUTES_FILE = "routes.json"


def bootstrap(folder: Path, host: str, admin_port: int) -> Resource:
    """Where the watched files are, and the admin interface (on this machine only)."""
    return {
        "node": {"id": "edge", "cluster": "edge"},
        "admin": {"address": address(host, admin_port)},
        "dynamic_resources": {
            "cds_config": _watched(folder, CLUSTERS),
            "lds_config": _watched(folder, LISTENERS),
        },
    }


def watched(
    routing: RoutingMap, targets: Targets, folder: Path, host: str, port: int
) -> dict[str, Resource]:
    """The watched files, in the order in which they must be written: a route table may only
    name clusters that Envoy has."""
    return {
        CLUSTERS: {"resources": clusters(routing.orders, targets)},
        ROUTES_FILE: {"resources": [route_table(routing)]},
        LISTENERS: {"resources": [listener(host, port, _watched(folder, ROUTES_FILE))]},
    }


def _watched(folder: Path, name: str) -> Resource:
    return {
        "path_config_source": {
            "path": str(folder / name),
            "watched_directory": {"path": str(folder)},
        },
        "resource_api_version": "V3",
    }
