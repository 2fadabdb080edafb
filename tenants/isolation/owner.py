"""Connections of the role that owns cells' tables: for changing structure, never for requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.conf import settings

from regions.current import deployment
from regions.deployment import OWNER_ROLE
from regions.topology import CellSpec, TenancyMode
from tenants.sessions import lent

Connection = psycopg.Connection[Any]


@contextmanager
def owner(
    spec: CellSpec, region: str, *, kind: type[Connection] = psycopg.Connection
) -> Iterator[Connection]:
    """An autocommitting connection to the cell's database in the region."""
    with kind.connect(_dsn(spec, region), autocommit=True, connect_timeout=5) as connection:
        yield connection


@contextmanager
def lent_owner(spec: CellSpec, region: str) -> Iterator[Connection]:
    """One that is kept for the next who needs it, where there may be one: leave nothing in it."""
    if spec.mode is TenancyMode.DEDICATED:
        with owner(spec, region) as connection:
            yield connection
    else:
        with lent(_dsn(spec, region)) as connection:
            yield connection


def _dsn(spec: CellSpec, region: str) -> str:
    return deployment().dsn(region, spec.database, OWNER_ROLE, seen_from=settings.MERIDIAN_REGION)


def run_all(connection: Connection, statements: Iterable[str]) -> None:
    """All of them or none, in one message."""
    text = ";\n".join(statements)
    if text:
        with connection.transaction():
            connection.execute(text.encode())
