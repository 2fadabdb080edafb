"""Where this process is, and the map as its region has it: three files, read when they change.

Guarantees an answer from memory: the last good copy of each file stays in force while its
newer one is missing or broken.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from regions.deployment import Deployment
from regions.errors import RegionsError
from regions.topology import Lease, Topology, parse_topology, read_region_leases
from tenants.directory import Directory, DirectoryFile

T = TypeVar("T")


class WatchedFile(Generic[T]):
    """A file's parsed content, parsed again only when the file was replaced."""

    def __init__(self, path: Path, parse: Callable[[Path], T], empty: T) -> None:
        self._path = path
        self._parse = parse
        self._value = empty
        self._seen: tuple[int, int] | None = None

    def current(self) -> T:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return self._value
        seen = (status.st_mtime_ns, status.st_ino)
        if seen != self._seen:
            try:
                self._value = self._parse(self._path)
            except (ValueError, KeyError, TypeError, OSError, RegionsError):
                return self._value
            self._seen = seen
        return self._value


class RegionMap:
    """The directory, the topology and the writers, as one region's agent published them."""

    def __init__(self, folder: Path, regions: frozenset[str]) -> None:
        self._directory = DirectoryFile(folder)
        self._topology = WatchedFile(
            folder / "topology.json",
            lambda path: parse_topology(_document(path), regions),
            Topology(),
        )
        self._leases: WatchedFile[Mapping[str, Lease]] = WatchedFile(
            folder / "leases.json", lambda path: read_region_leases(path.parent), {}
        )

    def directory(self) -> Directory:
        return self._directory.current()

    def topology(self) -> Topology:
        return self._topology.current()

    def lease(self, cell: str) -> Lease | None:
        return self._leases.current().get(cell)

    @property
    def loaded(self) -> bool:
        """Whether the region's agent has published the cells at least once."""
        return bool(self.topology().cells)


def here() -> str:
    """The region this process belongs to."""
    region: str | None = settings.MERIDIAN_REGION
    if region is None:
        raise ImproperlyConfigured("This process belongs to no region: set MERIDIAN_REGION.")
    return region


def deployment() -> Deployment:
    """The deployment this process belongs to."""
    found: Deployment | None = settings.MERIDIAN_DEPLOYMENT
    if found is None:
        raise ImproperlyConfigured("There is no deployment: start the fleet with `make up`.")
    return found


def region_map() -> RegionMap:
    """The map of the region this process belongs to."""
    known = deployment()
    return _map(known.region(here()).map_dir, frozenset(known.regions))


@cache
def _map(folder: Path, regions: frozenset[str]) -> RegionMap:
    return RegionMap(folder, regions)


def _document(path: Path) -> Mapping[str, object]:
    document: Mapping[str, object] = json.loads(path.read_text())
    return document
