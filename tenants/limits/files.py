"""Files count with rows: what they take, and whether there is room for more.

Guarantees that of saves at the same time, in whatever process or region, none goes past the quota:
they ask the home region's store in one exchange each, which counts them. Where a limit has nothing
to say (no quota of bytes) none is asked. The keeper measures the files themselves again and again,
so a count that was lost, or missed something, heals. Without the store nothing is refused here;
what was full before stays so in the database (ADR 0010).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from django.core.files.storage import FileSystemStorage, Storage

from tenants.directory import TenantRecord
from tenants.errors import QuotaExceeded
from tenants.limits.counts import KEEP_SECONDS, Counts, held_key
from tenants.limits.store import Store

_SCRIPT = (Path(__file__).parent / "files.lua").read_text()


@contextmanager
def room_for(tenant: TenantRecord, size: int, store: Store) -> Iterator[None]:
    """Save so many bytes within. Raises QuotaExceeded before; what fails within takes no room."""
    _ask(tenant, size, store)
    try:
        yield
    except BaseException:
        give_back(tenant, size, store)
        raise


def give_back(tenant: TenantRecord, size: int, store: Store) -> None:
    """So many bytes were deleted."""
    _ask(tenant, -size, store)


def _ask(tenant: TenantRecord, size: int, store: Store) -> None:
    allowed = tenant.limits.bytes
    if allowed is None or not store.up:
        return
    try:
        # Too seldom to be worth a registered script.
        found: Any = store.client.eval(
            _SCRIPT, 1, held_key(tenant.id), str(size), str(allowed), str(KEEP_SECONDS)
        )
    except redis.RedisError:
        store.failed()
        return
    if not found[0]:
        raise QuotaExceeded("bytes", used=int(found[1]), allowed=allowed)


def measure_files(
    tenants: Sequence[tuple[TenantRecord, Storage]], counts: Counts
) -> dict[Any, int]:
    """Count the files that are there; what is saved or deleted meanwhile is not forgotten."""
    found = {}
    for tenant, files in tenants:
        before = counts.files([tenant.id]).get(tenant.id, 0)
        found[tenant.id] = stored_bytes(files)
        counts.add_files(tenant.id, found[tenant.id] - before)
    return found


def stored_bytes(files: Storage) -> int:
    """The bytes of all files in a tenant's store."""
    if isinstance(files, FileSystemStorage):
        return sum(
            os.lstat(os.path.join(folder, name)).st_size
            for folder, _, names in os.walk(files.location)
            for name in names
        )
    # A bucket tells the sizes with the names.
    bucket: Any = files
    prefix = f"{bucket.location.rstrip('/')}/"
    return sum(entry.size for entry in bucket.bucket.objects.filter(Prefix=prefix))
