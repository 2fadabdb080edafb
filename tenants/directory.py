"""Host name → tenant → cell, from memory: no query, no network.

A frozen table read from the region's `directory.json` (published by the agent from the local
control cell). The file's last good copy survives a restart without the control cell; a host
that is not in the table is answered from the table too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from tenants.limits.values import UNLIMITED, Limits, resolve


@dataclass(frozen=True, slots=True)
class TenantRecord:
    """All that the request path must know of a tenant."""

    id: UUID
    slug: str
    cell: str
    mode: str
    schema: str
    state: str
    residency: str
    token_generation: int
    hosts: tuple[str, ...]
    plan: str = ""
    limits: Limits = UNLIMITED


@dataclass(frozen=True)
class Directory:
    """The tenants by host, by slug and by id. `version` only grows."""

    version: int = 0
    by_host: Mapping[str, TenantRecord] = field(default_factory=dict)
    by_slug: Mapping[str, TenantRecord] = field(default_factory=dict)
    by_id: Mapping[UUID, TenantRecord] = field(default_factory=dict)


def directory_of(records: Sequence[TenantRecord], version: int = 0) -> Directory:
    """The directory of these tenants."""
    return Directory(
        version=version,
        by_host={host: record for record in records for host in record.hosts},
        by_slug={record.slug: record for record in records},
        by_id={record.id: record for record in records},
    )


def parse_directory(document: Mapping[str, Any]) -> Directory:
    """Build a Directory from `directory.json`: {"version": int, "tenants": [{...}], "plans": {…}}.

    A document from before there were plans limits nobody.
    """
    plans = document.get("plans") or {}
    records = [
        TenantRecord(
            id=UUID(entry["id"]),
            slug=entry["slug"],
            cell=entry["cell"],
            mode=entry["mode"],
            schema=entry["schema"],
            state=entry["state"],
            residency=entry["residency"],
            token_generation=int(entry["token_generation"]),
            hosts=tuple(entry["hosts"]),
            plan=entry.get("plan") or "",
            limits=resolve(plans.get(entry.get("plan")) or {}, entry.get("limits") or {}),
        )
        for entry in document["tenants"]
    ]
    return directory_of(records, version=int(document["version"]))


class DirectoryFile:
    """The directory of one region, re-read when its file changes (one `stat` a look-up)."""

    def __init__(self, map_dir: Path) -> None:
        self._path = map_dir / "directory.json"
        self._seen: tuple[int, int] | None = None
        self._directory = Directory()

    def current(self) -> Directory:
        """The newest good copy; a file that is missing or broken leaves the last one in force."""
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return self._directory
        seen = (status.st_mtime_ns, status.st_ino)
        if seen != self._seen:
            try:
                self._directory = parse_directory(json.loads(self._path.read_text()))
            except (ValueError, KeyError, TypeError):
                return self._directory
            self._seen = seen
        return self._directory
