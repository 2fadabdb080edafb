"""What `default` means: the tenant's cell inside its scope, the control cell outside of one.

Unmodified code says `transaction.atomic()`, `connection.cursor()` or `.using("default")` and means
"the database". Guarantees that this is never the control cell while a tenant is in scope. `default`
is a name and no connection: whatever is opened is known by the alias of its cell or as `control`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler

from tenants.context import current_tenant_or_none
from tenants.databases import CONTROL_ALIAS, cell_alias, is_platform


def real_alias(alias: str) -> str:
    """The alias that is meant here and now: any but `default` means itself."""
    if alias != DEFAULT_DB_ALIAS:
        return alias
    tenant = current_tenant_or_none()
    return CONTROL_ALIAS if tenant is None else cell_alias(tenant.cell)


class ScopedConnections(ConnectionHandler):
    """`django.db.connections`, asked for a database by code that knows of no cells."""

    _connections: Any

    def __getitem__(self, alias: str) -> BaseDatabaseWrapper:
        return super().__getitem__(real_alias(alias) if alias == DEFAULT_DB_ALIAS else alias)

    def __setitem__(self, alias: str, connection: BaseDatabaseWrapper) -> None:
        super().__setitem__(real_alias(alias), connection)

    def __delitem__(self, alias: str) -> None:
        super().__delitem__(real_alias(alias))

    def __iter__(self) -> Iterator[str]:
        """The names that apps, commands and test cases choose from: `default`, and your own."""
        return (alias for alias in self.settings if not is_platform(alias))

    def all(self, initialized_only: bool = False) -> list[Any]:
        """Every connection once, whoever is in scope: what was opened will be closed.
        `initialized_only`: those that are open, or have a log of their queries, in this thread."""
        if initialized_only:
            return self._opened()
        return [self[alias] for alias in self.settings if alias != DEFAULT_DB_ALIAS]

    def _opened(self) -> list[Any]:
        """Asked three times a request, where there may be a thousand cells whose connections went
        back to the pool: what is asked of each that is returned is not asked of those."""
        storage = self._connections._get_storage()
        held = storage.__dict__ if isinstance(storage, threading.local) else storage._storage().data
        return [
            wrapper
            for wrapper in held.values()
            if isinstance(wrapper, BaseDatabaseWrapper)
            and (wrapper.connection is not None or wrapper.queries_log)
        ]


def install() -> None:
    """Put it in force. Modules have imported the handler by name already: it changes its class."""
    connections.__class__ = ScopedConnections
