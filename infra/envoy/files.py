"""Writes Envoy's files: each beside its place and renamed over it, and only when it changed."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from infra.envoy.clusters import Targets
from infra.envoy.maps import MapFolders, routing_map
from infra.envoy.render import BOOTSTRAP, CLUSTERS, bootstrap, watched
from regions.deployment import Deployment

# New clusters answer 503 until their first health checks are in.
WARM_UP_SECONDS = 0.4


@dataclass
class EdgeFiles:
    """The edge's folder for one deployment, kept up to date from the regions' maps."""

    folder: Path
    deployment: Deployment
    admin_port: int

    def __post_init__(self) -> None:
        sites = self.deployment.regions
        self.maps = MapFolders(tuple(site.map_dir for site in sites.values()))
        self.targets: Targets = {
            name: (site.web.host, site.web.port) for name, site in sites.items()
        }

    def write_all(self) -> None:
        """Bring every file up to date; the first call makes them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        edge = self.deployment.edge
        self.maps.changed()
        routing = routing_map(self.maps, self.deployment)
        documents = watched(routing, self.targets, self.folder, edge.host, edge.port)
        replace(self.folder / BOOTSTRAP, bootstrap(self.folder, edge.host, self.admin_port))
        for name, document in documents.items():
            first = not (self.folder / name).exists()
            if replace(self.folder / name, document) and name == CLUSTERS and not first:
                time.sleep(WARM_UP_SECONDS)

    def follow(self) -> bool:
        """Bring the files up to date if a region's map has changed; whether it has."""
        if not self.maps.changed():
            return False
        self.write_all()
        return True


def replace(path: Path, document: object) -> bool:
    """Replace the file unless it has this content already; whether it was replaced."""
    text = json.dumps(document, indent=1)
    if path.exists() and path.read_text() == text:
        return False
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_text(text)
    beside.rename(path)
    return True
