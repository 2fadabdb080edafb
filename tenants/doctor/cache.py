"""Does the cache, as it runs, keep one tenant's entries from another?"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID, uuid4

from django.conf import settings
from django.core.cache import caches
from redis.exceptions import RedisError

from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.doctor.findings import Finding, Severity

NAME = "cache"

_PROBE = TenantRecord(
    id=UUID(int=0), slug="doctor", cell="doctor", mode="shared", schema="public", state="active",
    residency="EU", token_generation=1, hosts=(),
)  # fmt: skip


def check() -> Iterator[Finding]:
    """Writes and deletes one entry a cache, under tenants that do not exist."""
    mine, other = replace(_PROBE, id=uuid4()), replace(_PROBE, id=uuid4())
    for alias in settings.CACHES:
        cache, key = caches[alias], f"doctor-{secrets.token_hex(8)}"
        try:
            with tenant_scope(mine):
                cache.set(key, "mine", timeout=30)
            for who, scope in (("another tenant", other), ("nobody's code", None)):
                with tenant_scope(scope):
                    if cache.get(key) is not None:
                        yield Finding(
                            NAME,
                            Severity.DANGER,
                            f"In cache {alias!r} {who} reads what a tenant has put there.",
                            "Its KEY_FUNCTION must be gateway.cache.tenant_key.",
                        )
            with tenant_scope(mine):
                cache.delete(key)
        except (OSError, RedisError) as error:
            yield unreachable(alias, error)


def unreachable(alias: str, error: Exception) -> Finding:
    return Finding(
        NAME,
        Severity.NOTE,
        f"Cache {alias!r} can't be asked from here ({type(error).__name__}).",
        "Run the doctor where the cache can be reached, to have it checked.",
    )
