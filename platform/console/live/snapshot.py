"""One picture of the whole deployment, shared by all who look at the same moment.

Guarantees an answer within DEADLINE seconds whatever is down, and at most one round of probes
every FRESH_SECONDS however many browsers poll.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

from console.live.cells import CellLive, read_cell
from console.live.decisions import Decided, merged, read_decisions
from console.live.probing import Answer, Prober
from console.live.regions import (
    RegionLive,
    agent_published,
    judge,
    ping_postgres,
    ping_web,
    written_in,
)
from regions.deployment import Deployment
from regions.replication.status import cell_status
from regions.topology import CellSpec, Lease, Topology, read_leases
from tenants.once import Once

DEADLINE = 2.4
FRESH_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every region and every cell, as seen from region `here` (None: from an operator's seat)."""

    here: str | None
    regions: tuple[RegionLive, ...]
    cells: tuple[CellLive, ...]
    decisions: tuple[Decided, ...] = ()

    def region(self, name: str) -> RegionLive | None:
        return next((region for region in self.regions if region.name == name), None)

    def cell(self, name: str) -> CellLive | None:
        return next((cell for cell in self.cells if cell.name == name), None)

    def decided(self, cell: str) -> tuple[Decided, ...]:
        return tuple(one for one in self.decisions if one.cell == cell)

    @property
    def up(self) -> frozenset[str]:
        """Regions whose PostgreSQL answers."""
        return frozenset(region.name for region in self.regions if region.state != "down")


class Observatory:
    """Takes snapshots; keeps the last one while it is fresh."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober
        self._lock = Lock()
        self._last: tuple[float, Topology, Snapshot] | None = None

    def look(self, deployment: Deployment, topology: Topology, here: str | None) -> Snapshot:
        with self._lock:
            if self._last is not None:
                taken, seen, snapshot = self._last
                if seen == topology and time.monotonic() - taken < FRESH_SECONDS:
                    return snapshot
            snapshot = self._take(deployment, topology, here)
            self._last = (time.monotonic(), topology, snapshot)
            return snapshot

    def _take(self, deployment: Deployment, topology: Topology, here: str | None) -> Snapshot:
        sites = deployment.regions.values()
        cells = topology.cells.values()
        probes: dict[str, Callable[[], Any]] = {}
        for site in sites:
            probes[f"pg:{site.name}"] = partial(ping_postgres, deployment, site.name, here)
            probes[f"web:{site.name}"] = partial(ping_web, site)
            probes[f"agent:{site.name}"] = partial(read_decisions, deployment, site.name, here)
        for spec in cells:
            probes[f"cell:{spec.name}"] = partial(cell_status, deployment, spec)
        answers = self._prober.gather(probes, timeout=DEADLINE)
        leases = read_leases(site.map_dir for site in sites)
        return Snapshot(
            here=here,
            regions=tuple(
                judge(
                    site,
                    answers[f"pg:{site.name}"],
                    answers[f"web:{site.name}"],
                    agent_published(site.map_dir),
                    written_in(site.name, cells, leases),
                )
                for site in sites
            ),
            cells=_cells(topology, answers, leases),
            decisions=merged(answers[f"agent:{site.name}"] for site in sites),
        )


def _cells(
    topology: Topology, answers: Mapping[str, Answer[Any]], leases: Mapping[str, Lease]
) -> tuple[CellLive, ...]:
    specs: list[CellSpec] = sorted(
        topology.cells.values(), key=lambda s: (s.name != "control", s.name)
    )
    return tuple(read_cell(spec, answers[f"cell:{spec.name}"], leases) for spec in specs)


@Once
def observatory() -> Observatory:
    """The process' one observatory, made at the first look."""
    return Observatory(Prober())
