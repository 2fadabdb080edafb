"""Counts what each tenant holds in one replica: rows, and the bytes they take.

Where tenants share tables, bytes are those of their rows; where they don't, what their tables
take on the disk, indexes included. Reads past row-level security, as the region's agent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from regions.topology import CellSpec, TenancyMode
from tenants.directory import TenantRecord
from tenants.isolation.catalog import REFERENCE_TABLES
from tenants.isolation.rewrite import TENANT_COLUMN
from tenants.limits.judge import Held

Connection = psycopg.Connection[Any]

PATIENCE = "60s"
ROW_OVERHEAD = 28  # its header and its place in the page

# A column of variable length is asked for its stored size, which reads nothing that is stored
# elsewhere; the others are as long as their type.
_TABLES = """
SELECT n.nspname, c.relname,
       pg_total_relation_size(c.oid),
       (SELECT coalesce(sum(a.attlen) FILTER (WHERE a.attlen > 0), 0) FROM pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       (SELECT coalesce(array_agg(a.attname::text) FILTER (WHERE a.attlen < 0), '{}')
          FROM pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%s) AND c.relkind = 'r' AND c.relname <> ALL (%s)
"""
Table = tuple[str, str, int, int, list[str]]


def measure(agent: Connection, spec: CellSpec, tenants: Sequence[TenantRecord]) -> dict[UUID, Held]:
    """What each of the cell's tenants holds; whoever has nothing holds 0."""
    agent.execute(sql.SQL("SET statement_timeout = {}").format(sql.Literal(PATIENCE)))
    schemas = sorted({tenant.schema for tenant in tenants})
    tables: list[Table] = agent.execute(_TABLES, (schemas, sorted(REFERENCE_TABLES))).fetchall()
    if spec.mode is TenancyMode.SHARED:
        found = _shared(agent, tables)
        return {tenant.id: found.get(tenant.id, Held(0, 0)) for tenant in tenants}
    held = _by_schema(agent, tables)
    return {tenant.id: held.get(tenant.schema, Held(0, 0)) for tenant in tenants}


def _shared(agent: Connection, tables: Iterable[Table]) -> dict[UUID, Held]:
    found: dict[UUID, Held] = {}
    for schema, name, _, fixed, variable in tables:
        size = sql.SQL(" + ").join(
            [
                sql.Literal(ROW_OVERHEAD + fixed),
                *(
                    sql.SQL("coalesce(pg_column_size({}), 0)").format(sql.Identifier(column))
                    for column in variable
                ),
            ]
        )
        statement = sql.SQL("SELECT {tenant}, count(*), sum({size}) FROM {table} GROUP BY 1")
        for tenant, rows, octets in agent.execute(
            statement.format(
                tenant=sql.Identifier(TENANT_COLUMN),
                size=size,
                table=sql.Identifier(schema, name),
            )
        ):
            before = found.get(tenant, Held(0, 0))
            found[tenant] = Held(before.rows + rows, before.bytes + int(octets))
    return found


def _by_schema(agent: Connection, tables: Iterable[Table]) -> dict[str, Held]:
    of: dict[str, list[Table]] = {}
    for table in tables:
        of.setdefault(table[0], []).append(table)
    found = {}
    for schema, own in of.items():
        counts = sql.SQL(" + ").join(
            sql.SQL("(SELECT count(*) FROM {})").format(sql.Identifier(schema, table[1]))
            for table in own
        )
        row = agent.execute(sql.SQL("SELECT {}").format(counts)).fetchone()
        found[schema] = Held(row[0] if row else 0, sum(table[2] for table in own))
    return found
