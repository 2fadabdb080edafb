"""Carries a tenant's files to another region's store, compares them, and removes them.

Guarantees that a file counts as carried when its content was read back the same, and that each
step can be repeated. Never removes what is in the region that it is told to keep.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from uuid import UUID

from django.core.files.storage import FileSystemStorage, Storage

from regions.current import deployment
from tenants.errors import MoveFailed
from tenants.files.places import store_in


def carry(tenant: UUID, source: str, target: str, *, since: datetime | None = None) -> int:
    """Make the files in region `target` those of region `source`; returns how many differed.
    Those that were carried and have not changed after `since` are not read again.

    Raises MoveFailed, naming the file whose copy is not what was read."""
    if source == target:
        return 0
    old, new = store_in(source, tenant), store_in(target, tenant)
    there = {name: new.size(name) for name in walk(new)}
    carried = 0
    for name in walk(old):
        if there.pop(name, None) == old.size(name):
            unchanged = since is not None and old.get_modified_time(name) < since
            if unchanged or digest(new, name) == digest(old, name):
                continue
        new.delete(name)
        with old.open(name) as content:
            new.save(name, content)
        if digest(new, name) != digest(old, name):
            raise MoveFailed(f"the copy of file {name!r} in {target} is not what was read")
        carried += 1
    for name in there:
        new.delete(name)
    return carried


def remove(tenant: UUID, *, keep: str | None = None) -> int:
    """Delete the tenant's files in every region's store but `keep`; returns how many."""
    removed = 0
    for region in deployment().regions:
        if region == keep:
            continue
        store = store_in(region, tenant)
        for name in walk(store):
            store.delete(name)
            removed += 1
        if isinstance(store, FileSystemStorage) and Path(store.location).exists():
            shutil.rmtree(store.location)
    return removed


def walk(store: Storage, folder: str = "") -> Iterator[str]:
    """The names of all files."""
    try:
        folders, names = store.listdir(folder)
    except FileNotFoundError:
        return
    prefix = f"{folder}/" if folder else ""
    for name in sorted(names):
        if name:
            yield prefix + name
    for name in sorted(folders):
        yield from walk(store, prefix + name)


def digest(store: Storage, name: str) -> str:
    """sha256 of the content."""
    found = hashlib.sha256()
    with store.open(name) as content:
        for block in content.chunks():
            found.update(block)
    return found.hexdigest()
