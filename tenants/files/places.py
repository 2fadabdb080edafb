"""Where a tenant's files are: a prefix of its own in the file store of its cell's home region.

Guarantees that the store is one that the tenant's residency policy allows (Q07), whatever the
registry says.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.core.files.storage import FileSystemStorage, Storage

from regions import residency
from regions.current import deployment
from regions.topology import CellSpec
from tenants.directory import TenantRecord
from tenants.seams import cell_spec

LINK_SECONDS = 60  # how long a bucket's own link works: only until the browser has followed it


def home_of(spec: CellSpec) -> str:
    """The region whose store has the files of the cell's tenants: the same whoever writes."""
    return spec.regions[0]


def store_of(tenant: TenantRecord) -> Storage:
    """The tenant's own store. Raises ResidencyDenied where its policy forbids the place."""
    region = home_of(cell_spec(tenant.cell))
    _require_lawful(tenant.residency, region, datetime.now(UTC).date())
    return store_in(region, tenant.id)


@lru_cache(maxsize=4096)
def store_in(region: str, tenant: UUID) -> Storage:
    """The part of a region's store that is the tenant's."""
    files = deployment().region(region).files
    if files.folder is not None:
        return FileSystemStorage(
            location=files.folder / str(tenant),
            file_permissions_mode=0o600,
            directory_permissions_mode=0o700,
        )
    bucket: Storage = _in_bucket(region, str(tenant))
    return bucket


@lru_cache(maxsize=64)
def _bucket(region: str) -> Any:
    """The whole bucket: its connections are everybody's."""
    return _in_bucket(region, "")


def _in_bucket(region: str, prefix: str) -> Any:
    # An optional dependency: only deployments with buckets need it.
    from storages.backends.s3 import S3Storage

    files = deployment().region(region).files
    store = S3Storage(
        bucket_name=files.bucket,
        endpoint_url=files.endpoint,
        region_name=files.location,
        location=prefix,
        file_overwrite=False,
        default_acl=None,
        querystring_expire=LINK_SECONDS,
        signature_version="s3v4",
    )
    if prefix:
        store._connections = _bucket(region)._connections
    return store


def forget() -> None:
    """What is known of the regions' stores: for tests that change the deployment."""
    store_in.cache_clear()
    _bucket.cache_clear()


@lru_cache(maxsize=1024)
def _require_lawful(policy: str, region: str, day: date) -> None:
    place = residency.Destination.of(deployment().region(region))
    residency.require(residency.parse_policy(policy), residency.Operation.STORE, place, at=day)
