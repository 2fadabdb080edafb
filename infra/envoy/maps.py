"""From the regions' map folders to what the edge routes by: hosts and ordered regions. Pure,
apart from reading those files.

Every region publishes the same map; some copies are old. The newest version of the topology and
of the directory wins, and for each cell the lease with the highest epoch. A file that is missing
or broken leaves that region's last good copy in force.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regions.deployment import CONTROL_CELL, Deployment
from regions.mapfile import Change, MapReader

NAMES = ("topology", "directory", "leases")
Ordered = tuple[str, ...]
Document = Mapping[str, Any]

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class RoutingMap:
    """Hosts by the regions that serve them, in the order of preference.

    `orders` has besides every order that a change of writer can bring, so that its clusters are
    warm when it comes.
    """

    hosts: Mapping[Ordered, tuple[str, ...]]
    console: Ordered
    orders: tuple[Ordered, ...]


class MapFolders:
    """The map files of all regions, re-read as they change."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._readers = {
            (folder, name): MapReader(folder, name) for folder in folders for name in NAMES
        }
        self._documents: dict[tuple[Path, str], Document] = {}

    def changed(self) -> bool:
        """Whether any document has changed since the last call; reads those that have."""
        found = False
        for place, reader in self._readers.items():
            news = reader.news()
            if news:
                document = news.document or self._documents[place]
                self._documents[place] = with_changes(document, news.changes)
                found = True
        return found

    def documents(self, name: str) -> list[Document]:
        """The last good copy of the named document in each region that has one."""
        return [content for (_, known), content in self._documents.items() if known == name]


def with_changes(directory: Document, changes: Iterable[Change]) -> Document:
    """The directory with the tenants that `changes` name as they are now."""
    changes = tuple(changes)
    if not changes:
        return directory
    tenants = {tenant["id"]: tenant for tenant in directory["tenants"]}
    for change in changes:
        tenants.pop(change.key, None)
        if change.entry is not None:
            tenants[change.key] = change.entry
    ordered = sorted(tenants.values(), key=lambda tenant: str(tenant["slug"]))
    return {**directory, "version": changes[-1].version, "tenants": ordered}


def routing_map(maps: MapFolders, deployment: Deployment) -> RoutingMap:
    """What the edge must route by now."""
    return route(
        maps.documents("topology"),
        maps.documents("directory"),
        maps.documents("leases"),
        tuple(deployment.regions),
        deployment.probe_host,
    )


def route(
    topologies: Iterable[Document],
    directories: Iterable[Document],
    leases: Iterable[Document],
    regions: Ordered,
    probe_host: Callable[[str], str],
) -> RoutingMap:
    """Decide from the documents alone. `regions` is the deployment's, in its order.

    Each cell has a host of its own besides its tenants', for probes.
    """
    cells = {
        cell["name"]: (tuple(name for name in cell["regions"] if name in regions), cell["policy"])
        for cell in _newest(topologies).get("cells", ())
    }
    cells = {name: cell for name, cell in cells.items() if cell[0]}
    writers = _writers(leases)

    def order(cell: str) -> Ordered:
        members, policy = cells[cell]
        writer = writers.get(cell)
        return members if policy == "active_active" else _first(writer, members)

    hosts: dict[Ordered, dict[str, None]] = {}
    for cell in sorted(cells):
        hosts.setdefault(order(cell), {})[probe_host(cell)] = None
    taken = {probe_host(cell) for cell in cells}
    for tenant in _newest(directories).get("tenants", ()):
        if tenant["cell"] not in cells:
            continue
        for host in map(str.lower, tenant["hosts"]):
            # A domain that Envoy refuses, or has twice, would freeze the whole table.
            if host not in taken and _HOST.fullmatch(host):
                taken.add(host)
                hosts.setdefault(order(tenant["cell"]), {})[host] = None
    console = order(CONTROL_CELL) if CONTROL_CELL in cells else regions
    possible = {_first(writer, members) for members, _ in cells.values() for writer in members} | {
        console
    }
    return RoutingMap(
        hosts={key: tuple(hosts[key]) for key in sorted(hosts)},
        console=console,
        orders=tuple(sorted(possible)),
    )


def _newest(documents: Iterable[Document]) -> Document:
    return max(documents, key=lambda document: int(document.get("version", 0)), default={})


def _writers(leases: Iterable[Document]) -> dict[str, str]:
    newest: dict[str, tuple[int, str]] = {}
    for document in leases:
        for cell, lease in document.get("cells", {}).items():
            if lease["writer"] is None:
                continue
            if cell not in newest or lease["epoch"] > newest[cell][0]:
                newest[cell] = (lease["epoch"], lease["writer"])
    return {cell: writer for cell, (_, writer) in newest.items()}


def _first(writer: str | None, members: Ordered) -> Ordered:
    if writer not in members:
        return members
    return (writer, *(name for name in members if name != writer))
