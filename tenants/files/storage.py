"""The default storage: what apps save with `FileField` and `default_storage` is the tenant's.

Guarantees that no name leads out of the tenant's prefix, that nothing is read or written without
a tenant, that an open file is not read under another tenant, and that stored names are relative
to the tenant, so that a move of the tenant changes no row. What is saved is within the tenant's
quota of bytes.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import IO, Any
from uuid import UUID

from django.core.exceptions import SuspiciousFileOperation
from django.core.files import File
from django.core.files.storage import Storage

from tenants.context import current_tenant, current_tenant_or_none
from tenants.errors import WrongTenantError
from tenants.files.links import link
from tenants.files.places import home_of, store_of
from tenants.limits.files import give_back, room_for
from tenants.limits.store import Store
from tenants.limits.store import store_of as counter_of
from tenants.seams import cell_spec


class TenantFile(File):  # type: ignore[type-arg]
    """An open file that knows whose it is."""

    def __init__(self, file: File[Any], name: str, owner: UUID) -> None:
        self.owner = owner
        super().__init__(file, name)

    @property
    def file(self) -> Any:
        tenant = current_tenant_or_none()
        # After a response has left the scope its body is still being sent: that is nobody else.
        if tenant is not None and tenant.id != self.owner:
            raise WrongTenantError(
                f"File {self.name!r} was opened for another tenant: open it in the scope that "
                "it is used in."
            )
        return self._opened

    @file.setter
    def file(self, value: Any) -> None:
        self._opened = value

    @property
    def size(self) -> int:
        return int(self.file.size)

    def open(self, *args: Any, **options: Any) -> TenantFile:
        self.file.open(*args, **options)
        return self

    def close(self) -> None:
        self._opened.close()


class TenantStorage(Storage):
    """`STORAGES["default"]`: Django's storage interface over the store of the tenant in scope."""

    def _open(self, name: str, mode: str = "rb") -> TenantFile:
        tenant = current_tenant()
        if mode.strip("bt") != "r":
            with room_for(tenant, 1, self._counter()):
                pass  # full is full; what is written is counted by the keeper
        return TenantFile(self._store().open(checked(name), mode), name, tenant.id)

    def _save(self, name: str, content: File[Any]) -> str:
        with room_for(current_tenant(), content.size, self._counter()):
            return self._store().save(checked(name), content)

    def save(self, name: str | None, content: IO[Any], max_length: int | None = None) -> str:
        return super().save(checked(name or content.name), content, max_length)

    def delete(self, name: str) -> None:
        tenant, store = current_tenant(), self._store()
        size = 0
        if tenant.limits.bytes is not None:
            with suppress(FileNotFoundError):
                size = store.size(checked(name))
        store.delete(checked(name))
        give_back(tenant, size, self._counter())

    def exists(self, name: str) -> bool:
        return self._store().exists(checked(name))

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        return self._store().listdir(checked(path) if path not in ("", ".", "/") else "")

    def size(self, name: str) -> int:
        return self._store().size(checked(name))

    def path(self, name: str) -> str:
        return self._store().path(checked(name))

    def url(self, name: str | None) -> str:
        """A link on the tenant's own host that works for a while, and for this file only."""
        return link(current_tenant(), checked(name or ""))

    def get_accessed_time(self, name: str) -> datetime:
        return self._store().get_accessed_time(checked(name))

    def get_created_time(self, name: str) -> datetime:
        return self._store().get_created_time(checked(name))

    def get_modified_time(self, name: str) -> datetime:
        return self._store().get_modified_time(checked(name))

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return self._store().get_available_name(checked(name), max_length)

    def _store(self) -> Storage:
        return store_of(current_tenant())

    def _counter(self) -> Store:
        """Where the tenant's files are counted: in their region."""
        return counter_of(home_of(cell_spec(current_tenant().cell)))


def checked(name: str) -> str:
    """The name, if it is one within the tenant's files. Raises SuspiciousFileOperation."""
    text = str(name)
    parts = text.split("/")
    if (
        not text
        or "\\" in text
        or any(ord(character) < 32 for character in text)
        or any(part in ("", ".", "..") for part in parts)
        or ":" in parts[0]
    ):
        raise SuspiciousFileOperation(
            f"{text!r} can't be a file's name: use a relative one, without `..` or backslashes."
        )
    return text
