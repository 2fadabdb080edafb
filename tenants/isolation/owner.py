"""Connections of the role that owns cells' tables: for changing structure, never for requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.conf import settings

from regions.current import deployment
from regions.deployment import OWNER_ROLE
from regions.topology import CellSpec

Connection = psycopg.Connection[Any]


@contextmanager
def owner(
    spec: CellSpec, region: str, *, kind: type[Connection] = psycopg.Connection
) -> Iterator[Connection]:
    """An autocommitting connection to the cell's database in the region."""
    dsn = deployment().dsn(region, spec.database, OWNER_ROLE, seen_from=settings.MERIDIAN_REGION)
    with kind.connect(dsn, autocommit=True, connect_timeout=5) as connection:
        yield connection


def run_all(connection: Connection, statements: Iterable[str]) -> None:
    """All of them or none, in one message."""
    text = ";\n".join(statements)
    if text:
        with connection.transaction():
            connection.execute(text.encode())
