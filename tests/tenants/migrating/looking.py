"""What tests look at: the tables of a tenant in one replica, as the tenant or as an operator."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connections
from psycopg import sql

from regions import cells
from regions.current import deployment
from regions.deployment import OWNER_ROLE
from tenants.context import tenant_scope
from tenants.databases import cell_alias
from tenants.directory import TenantRecord
from tenants.isolation.modes import isolation_of
from tenants.seams import cell_spec


def owner(cell: str, region: str) -> psycopg.Connection[Any]:
    dsn = deployment().dsn(region, cell_spec(cell).database, OWNER_ROLE)
    return psycopg.connect(dsn, autocommit=True)


def run(tenant: TenantRecord, statement: str, *params: Any, region: str | None = None) -> Any:
    """As the application does; rows, where there are any."""
    with tenant_scope(tenant):
        alias = cell_alias(tenant.cell, region=region) if region else cell_alias(tenant.cell)
        with connections[alias].cursor() as cursor:
            cursor.execute(statement, params)
            return cursor.fetchall() if cursor.description else None


def by_hand(tenant: TenantRecord, statement: str, *params: Any, region: str) -> None:
    """As somebody with the owner's password does."""
    with owner(tenant.cell, region) as session:
        session.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(tenant.schema)))
        session.execute(statement.encode(), params or None)


@contextmanager
def out_of_reach(cell: str, region: str) -> Iterator[None]:
    """The replica takes no connection, and those of the tables' owner are cut off."""
    database = cell_spec(cell).database
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    cut = (
        "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity"
        " WHERE datname = %s AND usename = %s"
    )
    with cells.administrator(deployment(), region) as admin:
        admin.execute(allow.format(sql.Identifier(database), sql.SQL("false")))
        admin.execute(cut, (database, OWNER_ROLE))
        try:
            yield
        finally:
            admin.execute(allow.format(sql.Identifier(database), sql.SQL("true")))


def columns(tenant: TenantRecord, region: str, table: str = "shelf_book") -> set[str]:
    with owner(tenant.cell, region) as session:
        rows = session.execute(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(%s)"
            " AND attnum > 0 AND NOT attisdropped",
            (sql.Identifier(tenant.schema, table).as_string(session),),
        ).fetchall()
    return {row[0] for row in rows}


def applied(tenant: TenantRecord, region: str) -> set[str]:
    """The app's migrations, with the marks of those that are done in part."""
    with owner(tenant.cell, region) as session:
        rows = session.execute(
            sql.SQL("SELECT name FROM {} WHERE app = 'shelf'").format(
                sql.Identifier(tenant.schema, "django_migrations")
            )
        ).fetchall()
    return {row[0] for row in rows}


def lacking(tenant: TenantRecord) -> list[str]:
    """What keeps a table of the tenant's cell from being isolated."""
    return isolation_of(cell_spec(tenant.cell)).lacking()


def arrives(tenant: TenantRecord, statement: str, wanted: Any, *, region: str) -> None:
    """Within a while the replica shows this."""
    deadline = time.monotonic() + 240
    while (found := run(tenant, statement, region=region)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def dead_letters(tenant: TenantRecord) -> int:
    """In all replicas."""
    found = 0
    for region in cell_spec(tenant.cell).regions:
        with cells.administrator(deployment(), region, cell_spec(tenant.cell).database) as session:
            row = session.execute(
                "SELECT count(*) FROM fabric.dead_letter WHERE tenant = %s", (tenant.id,)
            ).fetchone()
            found += row[0] if row else 0
    return found


def meanwhile() -> None:
    """What a test lets happen in the midst of a migration."""
