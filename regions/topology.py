"""The map: which cells exist, where their replicas are and who writes them now.

Frozen, validated on load, carrying a version that only grows. Edge, gateway, agent and
commands read the same two documents from a region's map folder:

- `topology.json` (slow): regions, cells and replicas, published from the control cell;
- `leases.json` (fast): the writer of each cell as this region last saw it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from regions.errors import TopologyError, UnknownCell


class TenancyMode(StrEnum):
    SHARED = "shared"
    SCHEMA = "schema"
    DEDICATED = "dedicated"
    CONTROL = "control"


class WritePolicy(StrEnum):
    ACTIVE_PASSIVE = "active_passive"
    ACTIVE_ACTIVE = "active_active"
    FOLLOW_THE_SUN = "follow_the_sun"

    @property
    def leased(self) -> bool:
        """Whether one region at a time writes, under a lease."""
        return self is not WritePolicy.ACTIVE_ACTIVE


@dataclass(frozen=True, slots=True)
class CellSpec:
    """A cell: `regions` is ordered by preference, the first is its home. `timetable`: who writes
    when, where it follows the sun; see `regions.timetable`."""

    name: str
    mode: TenancyMode
    policy: WritePolicy
    regions: tuple[str, ...]
    timetable: str = ""

    @property
    def database(self) -> str:
        return database_name(self.name)


@dataclass(frozen=True, slots=True)
class Lease:
    """Who writes a leased cell, as seen by one region. `epoch` only grows."""

    writer: str
    epoch: int


@dataclass(frozen=True)
class Topology:
    """The cells by name. `version` is the newest stamp in the control cell that it was read at."""

    version: int = 0
    cells: Mapping[str, CellSpec] = field(default_factory=dict)

    def cell(self, name: str) -> CellSpec:
        try:
            return self.cells[name]
        except KeyError:
            known = ", ".join(sorted(self.cells)) or "none"
            raise UnknownCell(f"No cell is called {name!r}. Cells: {known}.") from None


def database_name(cell: str) -> str:
    """The cell's database: `control` for cell zero, `cell_<name>` for the others."""
    return "control" if cell == "control" else "cell_" + cell.replace("-", "_")


def parse_topology(document: Mapping[str, Any], known_regions: Iterable[str]) -> Topology:
    """Build a validated Topology from `topology.json`.

    Raises TopologyError when a cell has no region or names one that does not exist.
    """
    regions = set(known_regions)
    cells = {}
    for entry in document["cells"]:
        spec = CellSpec(
            name=entry["name"],
            mode=TenancyMode(entry["mode"]),
            policy=WritePolicy(entry["policy"]),
            regions=tuple(entry["regions"]),
            timetable=entry.get("timetable", ""),
        )
        if not spec.regions:
            raise TopologyError(f"Cell {spec.name!r} has no region.")
        if unknown := set(spec.regions) - regions:
            raise TopologyError(f"Cell {spec.name!r} names unknown regions: {sorted(unknown)}.")
        cells[spec.name] = spec
    return Topology(version=int(document["version"]), cells=cells)


def read_leases(map_dirs: Iterable[Path]) -> dict[str, Lease]:
    """The newest known writer of each leased cell: for each cell the highest epoch wins.

    Folders of regions that are down hold old files; that is why the epoch decides.
    """
    newest: dict[str, Lease] = {}
    for folder in map_dirs:
        for cell, lease in read_region_leases(folder).items():
            if cell not in newest or lease.epoch > newest[cell].epoch:
                newest[cell] = lease
    return newest


def read_region_leases(map_dir: Path) -> dict[str, Lease]:
    """One region's view of the writers: {} until its agent has published one."""
    try:
        document = json.loads((map_dir / "leases.json").read_text())
    except FileNotFoundError:
        return {}
    return parse_leases(document)


def parse_leases(document: Mapping[str, Any]) -> dict[str, Lease]:
    """Build the leases from `leases.json`; a cell without a writer is left out."""
    return {
        cell: Lease(writer=entry["writer"], epoch=int(entry["epoch"]))
        for cell, entry in document["cells"].items()
        if entry["writer"] is not None
    }


def read_topology(map_dirs: Iterable[Path], known_regions: Iterable[str]) -> Topology:
    """The newest published map; an empty one before the first is published."""
    newest = Topology()
    regions = tuple(known_regions)
    for folder in map_dirs:
        try:
            document = json.loads((folder / "topology.json").read_text())
        except FileNotFoundError:
            continue
        topology = parse_topology(document, regions)
        if topology.version >= newest.version:
            newest = topology
    return newest
