"""Puts tables under the fabric: hidden columns, capture triggers, sequences that never collide.

Runs as the tables' owner; idempotent, so it is called after every migration.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from regions.errors import RegionsError

Connection = psycopg.Connection[Any]

SEQUENCE_STEP = 32  # one slot a node (1..31): two regions never draw the same number

HIDDEN_COLUMNS = ("_born", "_stamp", "_fields", "_base")

_TRIGGERS = """
CREATE OR REPLACE TRIGGER fabric_open BEFORE INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION fabric.open_statement();
CREATE OR REPLACE TRIGGER zz_fabric_stamp_insert BEFORE INSERT ON {table}
    FOR EACH ROW EXECUTE FUNCTION fabric.stamp_insert();
CREATE OR REPLACE TRIGGER zz_fabric_stamp_update BEFORE UPDATE ON {table}
    FOR EACH ROW EXECUTE FUNCTION fabric.stamp_update({generated});
CREATE OR REPLACE TRIGGER fabric_keep_key BEFORE UPDATE ON {table}
    FOR EACH ROW WHEN (({old_key}) IS DISTINCT FROM ({new_key}))
    EXECUTE FUNCTION fabric.refuse_key_change();
CREATE OR REPLACE TRIGGER fabric_insert AFTER INSERT ON {table}
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT
    EXECUTE FUNCTION fabric.capture_write({tenant}, {key});
CREATE OR REPLACE TRIGGER fabric_update AFTER UPDATE ON {table}
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT
    EXECUTE FUNCTION fabric.capture_write({tenant}, {key});
CREATE OR REPLACE TRIGGER fabric_delete AFTER DELETE ON {table}
    REFERENCING OLD TABLE AS stale FOR EACH STATEMENT
    EXECUTE FUNCTION fabric.capture_delete({tenant}, {key})
"""

_COLUMNS = """
ALTER TABLE {table}
    ADD COLUMN IF NOT EXISTS _born bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS _stamp bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS _fields jsonb,
    ADD COLUMN IF NOT EXISTS _base jsonb
"""


class NoPrimaryKey(RegionsError):
    """A table without a primary key cannot be replicated."""


def attach(
    connection: Connection,
    schema: str,
    *,
    node: int,
    tenant_column: str | None = None,
    tenant: UUID | None = None,
    local_tables: Collection[str] = (),
) -> list[str]:
    """Put every table of `schema` under the fabric, except `local_tables`; returns their names.

    `tenant` is the tenant that all rows belong to; with `tenant_column` each row says its own
    (the log reads `tenant_id`). Raises NoPrimaryKey, naming the tables, before it changes any.
    """
    if tenant_column not in (None, "tenant_id"):
        raise ValueError(f"The log reads the tenant from tenant_id, not {tenant_column}.")
    tables = [name for name in _tables(connection, schema) if name not in local_tables]
    keyless = [name for name in tables if not _primary_key(connection, schema, name)]
    if keyless:
        raise NoPrimaryKey(
            f"Tables without a primary key cannot be replicated: {', '.join(keyless)}. Give them "
            "one, or declare them local in MERIDIAN_LOCAL_TABLES."
        )
    for name in tables:
        attach_table(connection, schema, name, node=node, tenant=tenant)
    return tables


def attach_table(
    connection: Connection, schema: str, name: str, *, node: int, tenant: UUID | None
) -> None:
    """Put one table under the fabric."""
    key = _primary_key(connection, schema, name)
    columns, generated = _columns(connection, schema, name)
    table = sql.Identifier(schema, name)

    def row_of(prefix: str) -> sql.Composed:
        return sql.SQL(", ").join(sql.Identifier(prefix, column) for column in key)

    connection.execute(sql.SQL(_COLUMNS).format(table=table))
    connection.execute(
        sql.SQL(_TRIGGERS).format(
            table=table,
            generated=sql.SQL(", ").join(map(sql.Literal, generated)),
            old_key=row_of("old"),
            new_key=row_of("new"),
            tenant=sql.Literal(str(tenant) if tenant else ""),
            key=sql.SQL(", ").join(map(sql.Literal, key)),
        )
    )
    connection.execute(
        "INSERT INTO fabric.relation (rel, key, columns) VALUES (%s, %s, %s)"
        " ON CONFLICT (rel) DO UPDATE SET key = EXCLUDED.key, columns = EXCLUDED.columns",
        (f"{schema}.{name}", key, sorted({*columns, *HIDDEN_COLUMNS})),
    )
    for sequence in _sequences(connection, schema, name):
        _interleave(connection, sequence, node)


def detach_schema(connection: Connection, schema: str) -> None:
    """Forget a schema's tables, before it is dropped."""
    for table in ("relation", "tombstone", "conflict"):
        connection.execute(
            sql.SQL("DELETE FROM {} WHERE split_part(rel, '.', 1) = %s").format(
                sql.Identifier("fabric", table)
            ),
            (schema,),
        )


def _interleave(connection: Connection, sequence: tuple[str, str], node: int) -> None:
    """Let the sequence draw only numbers that are `node` modulo SEQUENCE_STEP."""
    state = connection.execute(
        "SELECT increment_by, last_value FROM pg_sequences"
        " WHERE schemaname = %s AND sequencename = %s",
        sequence,
    ).fetchone()
    if state is None or state[0] == SEQUENCE_STEP:
        return
    drawn = state[1] or 0
    first = (drawn // SEQUENCE_STEP + (1 if drawn else 0)) * SEQUENCE_STEP + node
    name = sql.Identifier(*sequence)
    connection.execute(
        sql.SQL("ALTER SEQUENCE {} INCREMENT BY {} RESTART WITH {}").format(
            name, sql.Literal(SEQUENCE_STEP), sql.Literal(first)
        )
    )


def _tables(connection: Connection, schema: str) -> list[str]:
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname",
        (sql.Identifier(schema).as_string(connection),),
    )
    return [row[0] for row in rows]


def _primary_key(connection: Connection, schema: str, name: str) -> list[str]:
    rows = connection.execute(
        "SELECT attname FROM pg_index"
        " CROSS JOIN LATERAL unnest(indkey::int2[]) WITH ORDINALITY AS k(attnum, position)"
        " JOIN pg_attribute USING (attnum)"
        " WHERE indrelid = %(t)s::regclass AND attrelid = indrelid AND indisprimary"
        " ORDER BY position",
        {"t": sql.Identifier(schema, name).as_string(connection)},
    )
    return [row[0] for row in rows]


def _columns(connection: Connection, schema: str, name: str) -> tuple[list[str], list[str]]:
    """The columns that a writer sets, and those that PostgreSQL generates."""
    rows = connection.execute(
        "SELECT attname, attgenerated FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        (sql.Identifier(schema, name).as_string(connection),),
    ).fetchall()
    plain = [column for column, generated in rows if not generated]
    return plain, [column for column, generated in rows if generated]


def _sequences(connection: Connection, schema: str, name: str) -> list[tuple[str, str]]:
    rows = connection.execute(
        "SELECT s.relnamespace::regnamespace::text, s.relname FROM pg_depend d"
        " JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'"
        " WHERE d.refobjid = %s::regclass AND d.deptype IN ('a', 'i')"
        " AND d.classid = 'pg_class'::regclass",
        (sql.Identifier(schema, name).as_string(connection),),
    )
    return [(row[0], row[1]) for row in rows]
