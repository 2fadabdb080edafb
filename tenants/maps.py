"""The map as this process' region has it: who is where, and who writes, from memory.

Guarantees an answer without a query or a wait, some milliseconds old at most: the last good copy of
each file stays in force while its newer one is missing or broken.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from regions.current import deployment
from regions.failover.reporting import HEARD, parse_heard
from regions.mapfile import Watched
from regions.topology import CellSpec, Lease, Topology, parse_leases, parse_topology
from tenants.directory import Directory, DirectoryFile, TenantRecord


class RegionMap:
    """The directory, the topology and the writers, as one region's agent published them."""

    def __init__(self, folder: Path, regions: frozenset[str]) -> None:
        self.directories = DirectoryFile(folder)
        self._topology = Watched(
            folder,
            "topology",
            lambda document: parse_topology(document, regions),
            Topology(),
        )
        none: Mapping[str, Lease] = {}
        self._leases = Watched(folder, "leases", parse_leases, none)
        nothing: Mapping[str, float] = {}
        self._heard = Watched(folder, HEARD, parse_heard, nothing)

    def directory(self) -> Directory:
        return self.directories.current()

    def tenant_of(self, host: str) -> TenantRecord | None:
        """Whose host it is. One that is unknown may have been published just now."""
        known = self.directories.current().by_host.get(host)
        return known or self.directories.current(fresh=True).by_host.get(host)

    def cell(self, name: str) -> CellSpec | None:
        """The same for a cell."""
        known = self._topology.current().cells.get(name)
        return known or self._topology.current(fresh=True).cells.get(name)

    def topology(self) -> Topology:
        return self._topology.current()

    def lease(self, cell: str) -> Lease | None:
        return self._leases.current().get(cell)

    def heard_until(self, cell: str) -> float | None:
        """Until when, in seconds since 1970, all that the cell's other regions wrote is here, as
        the agent has said last; None: it has not."""
        return self._heard.current().get(cell)

    @property
    def loaded(self) -> bool:
        """Whether the region's agent has published the cells at least once."""
        return bool(self.topology().cells)


@cache
def region_map() -> RegionMap:
    """The map of the region this process belongs to."""
    return RegionMap(deployment().region(here()).map_dir, frozenset(deployment().regions))


@cache
def here() -> str:
    """The region this process belongs to."""
    region: str | None = settings.MERIDIAN_REGION
    if region is None:
        raise ImproperlyConfigured("This process belongs to no region: set MERIDIAN_REGION.")
    return region


@cache
def region_label() -> str:
    """The same for who must be named in any case: `none` for an operator's process."""
    return settings.MERIDIAN_REGION or "none"


def _forget(*, setting: str, **_: Any) -> None:
    # Each request asks several times, and reading a setting is a search: it is read once.
    if setting in ("MERIDIAN_REGION", "MERIDIAN_DEPLOYMENT"):
        for known in (region_map, here, region_label):
            known.cache_clear()


setting_changed.connect(_forget)
