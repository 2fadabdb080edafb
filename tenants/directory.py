"""Host name → tenant → cell, from memory: no query, no network.

A frozen table read from the region's `directory.json` and its log (published by the agent from the
local control cell). Their last good copy survives a restart without the control cell; a host that
is not in the table is answered from the table too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from regions.mapfile import Change, Watched
from tenants.limits.values import UNLIMITED, Limits, resolve

NAMED = 20  # tenants that a sentence names


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
    plans: Mapping[str, Any] = field(default_factory=dict)


def directory_of(
    records: Sequence[TenantRecord], version: int = 0, plans: Mapping[str, Any] | None = None
) -> Directory:
    """The directory of these tenants."""
    return Directory(
        version=version,
        by_host={host: record for record in records for host in record.hosts},
        by_slug={record.slug: record for record in records},
        by_id={record.id: record for record in records},
        plans=plans or {},
    )


def parse_record(entry: Mapping[str, Any], plans: Mapping[str, Any]) -> TenantRecord:
    """One entry of the directory; `plans` are the document's."""
    return TenantRecord(
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
        limits=resolve(plans.get(entry.get("plan") or "") or {}, entry.get("limits") or {}),
    )


def parse_directory(document: Mapping[str, Any]) -> Directory:
    """Build a Directory from `directory.json`: {"version": int, "tenants": [{...}], "plans": {…}}.

    A document from before there were plans limits nobody.
    """
    plans = document.get("plans") or {}
    records = [parse_record(entry, plans) for entry in document["tenants"]]
    return directory_of(records, version=int(document["version"]), plans=plans)


def apply_changes(directory: Directory, changes: Iterable[Change]) -> Directory:
    """The directory with the tenants that `changes` name as they are now."""
    by_host, by_slug = dict(directory.by_host), dict(directory.by_slug)
    by_id = dict(directory.by_id)
    version = directory.version
    for change in changes:
        version = max(version, change.version)
        before = by_id.pop(UUID(change.key), None)
        if before is not None:
            # Its names may be another tenant's by now.
            if by_slug.get(before.slug) is before:
                del by_slug[before.slug]
            for host in before.hosts:
                if by_host.get(host) is before:
                    del by_host[host]
        if change.entry is not None:
            record = parse_record(change.entry, directory.plans)
            by_id[record.id] = by_slug[record.slug] = record
            by_host |= dict.fromkeys(record.hosts, record)
    return replace(directory, version=version, by_host=by_host, by_slug=by_slug, by_id=by_id)


def slugs_by_cell(directory: Directory) -> dict[str, list[str]]:
    """The tenants of each cell, by name."""
    found: dict[str, list[str]] = {}
    for slug, record in sorted(directory.by_slug.items()):
        found.setdefault(record.cell, []).append(slug)
    return found


def first_of(slugs: Sequence[str]) -> str:
    """As many of them as fit into a sentence, and how many more there are."""
    more = f" and {len(slugs) - NAMED} more" if len(slugs) > NAMED else ""
    return ", ".join(slugs[:NAMED]) + more


class DirectoryFile(Watched[Directory]):
    """The directory of one region, as its agent publishes it: milliseconds old."""

    def __init__(self, map_dir: Path) -> None:
        super().__init__(map_dir, "directory", parse_directory, Directory(), apply_changes)


def newest_directory(map_dirs: Iterable[Path]) -> Directory:
    """As the region that has heard most knows the tenants; for who runs in no region."""
    known = (DirectoryFile(folder).current() for folder in map_dirs)
    return max(known, key=lambda directory: directory.version, default=Directory())
