"""Caches that know the tenant: two tenants can't read, count or clear each other's entries."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from django.core.cache.backends import locmem, redis

from tenants.context import current_tenant_or_none

_BATCH = 1000


def tenant_key(key: str, key_prefix: str, version: int) -> str:
    """Django's KEY_FUNCTION: `t:<tenant id>` inside a scope, `-` only where no tenant is."""
    return f"{_owner()}:{key_prefix}:{version}:{key}"


def _owner() -> str:
    tenant = current_tenant_or_none()
    return f"t:{tenant.id}" if tenant else "-"


class RedisCache(redis.RedisCache):
    """Django's, but what is cleared is the tenant's in scope; without one, what is nobody's."""

    def clear(self) -> None:
        self._forget(f"{_owner()}:*")

    def delete_pattern(self, pattern: str, version: int | None = None) -> int:
        """Delete what matches, with `*`, `?` and `[…]`; returns how many. One's own only."""
        return self._forget(self.make_and_validate_key(pattern, version=version))

    def _forget(self, pattern: str) -> int:
        client: Any = self._cache.get_client(None, write=True)
        deleted = 0
        batch: list[bytes] = []
        for key in client.scan_iter(match=pattern, count=_BATCH):
            batch.append(key)
            if len(batch) == _BATCH:
                deleted += client.unlink(*batch)
                batch.clear()
        return deleted + (client.unlink(*batch) if batch else 0)


class LocMemCache(locmem.LocMemCache):
    """The same in the process' memory."""

    _lock: Any
    _cache: Any
    _delete: Any

    def clear(self) -> None:
        self._forget(f"{_owner()}:*")

    def delete_pattern(self, pattern: str, version: int | None = None) -> int:
        return self._forget(self.make_and_validate_key(pattern, version=version))

    def _forget(self, pattern: str) -> int:
        with self._lock:
            found = list(self._matching(pattern))
            for key in found:
                self._delete(key)
        return len(found)

    def _matching(self, pattern: str) -> Iterator[str]:
        return (key for key in self._cache if fnmatchcase(key, pattern))
