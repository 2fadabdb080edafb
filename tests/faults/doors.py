"""How clients get into the fabric: as the application does, through Django's connections, under the
application's role and the tenant's signed context."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import DatabaseError, connections, transaction

from regions.errors import RegionsError
from tenants.context import tenant_scope
from tenants.databases import cell_alias
from tenants.seams import cell_spec

LEAVE_SECONDS = 60.0


class Outside(RegionsError):
    """The gateway would send the request to another region."""


class FabricDoor:
    """The application's own way into a cell; a region's may be closed for a time."""

    def __init__(self, cell: str, tenant: Any) -> None:
        self._cell = cell
        self._tenant = tenant
        self._closed: set[str] = set()
        self._inside: Counter[str] = Counter()
        self._changed = threading.Condition()

    def close(self, region: str) -> None:
        """Nobody comes in, and nobody is inside any more. Raises TimeoutError."""
        with self._changed:
            self._closed.add(region)
            if not self._changed.wait_for(lambda: not self._inside[region], LEAVE_SECONDS):
                raise TimeoutError(f"somebody is still inside in {region}")

    def open(self, region: str) -> None:
        with self._changed:
            self._closed.discard(region)

    @contextmanager
    def transaction(self, region: str) -> Iterator[Any]:
        """Raises Outside."""
        if region not in cell_spec(self._cell).regions:
            raise Outside(f"{region} is none of the cell's regions now.")
        alias = cell_alias(self._cell, region=region)
        with (
            self._going_in(region),
            tenant_scope(self._tenant),
            transaction.atomic(using=alias),
            connections[alias].cursor() as cursor,
        ):
            yield cursor

    @contextmanager
    def _going_in(self, region: str) -> Iterator[None]:
        with self._changed:
            if region in self._closed:
                raise Outside(f"{region} is closed.")
            self._inside[region] += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside[region] -= 1
                self._changed.notify_all()

    def discard(self, region: str) -> None:
        """As at a request's end."""
        try:
            connections[cell_alias(self._cell, region=region)].close()
        except (DatabaseError, psycopg.Error):
            return

    def leave(self) -> None:
        connections.close_all()
