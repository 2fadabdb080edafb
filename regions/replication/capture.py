"""Puts tables under the fabric: hidden columns, capture triggers, sequences that never collide.

Runs as the tables' owner; idempotent, so it is called after every migration: what a table has
already is left alone. What a table lacks can also be had as SQL, to be run elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from regions.errors import RegionsError
from regions.replication import rules
from regions.replication.captured import SEQUENCE_STEP, Captured, read_captured

Connection = psycopg.Connection[Any]

HIDDEN_COLUMNS = ("_born", "_stamp", "_fields", "_base")

# Filled in without a call a row: what no row trigger need look at. The condition of the one that
# does look is read anew in each statement, and so is the default in most: so they are short.
_STAMP = sql.SQL("pg_catalog.currval('fabric.stamp')")
# Whose stamp does not come by the setting of earlier versions, and which is told of TRUNCATE.
_OPENED = ("by sequence", "whole")

_TRIGGERS = """
CREATE OR REPLACE TRIGGER fabric_open BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION fabric.open_statement({opened});
ALTER TABLE {table} ALTER _born SET DEFAULT {stamp}, ALTER _stamp SET DEFAULT {stamp};
CREATE OR REPLACE TRIGGER zz_fabric_stamp_new BEFORE INSERT ON {table} FOR EACH ROW
    WHEN (NEW._born IS DISTINCT FROM {stamp} OR NEW._stamp IS DISTINCT FROM NEW._born
          OR NEW._fields IS NOT NULL OR NEW._base IS NOT NULL)
    EXECUTE FUNCTION fabric.stamp_insert();
CREATE OR REPLACE TRIGGER zz_fabric_stamp_update BEFORE UPDATE ON {table}
    FOR EACH ROW EXECUTE FUNCTION fabric.stamp_update({unnoted});
CREATE OR REPLACE TRIGGER fabric_keep_key BEFORE UPDATE ON {table}
    FOR EACH ROW WHEN (({old_key}) IS DISTINCT FROM ({new_key}))
    EXECUTE FUNCTION fabric.refuse_key_change();
CREATE OR REPLACE TRIGGER fabric_insert AFTER INSERT ON {table}
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT
    EXECUTE FUNCTION fabric.capture_write({tenant}, {key});
CREATE OR REPLACE TRIGGER fabric_update AFTER UPDATE ON {table}
    REFERENCING OLD TABLE AS stale NEW TABLE AS fresh FOR EACH STATEMENT
    EXECUTE FUNCTION fabric.capture_write({tenant}, {key});
CREATE OR REPLACE TRIGGER fabric_delete AFTER DELETE ON {table}
    REFERENCING OLD TABLE AS stale FOR EACH STATEMENT
    EXECUTE FUNCTION fabric.capture_delete({tenant}, {key})
"""

TRIGGERS = frozenset(re.findall(r"TRIGGER (\w+)", _TRIGGERS))

# A statement that names a partition fires no trigger of the table that it is part of.
_PART = """
CREATE OR REPLACE TRIGGER fabric_part BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {part}
    FOR EACH STATEMENT EXECUTE FUNCTION fabric.refuse_part()
"""

_COLUMNS = """
ALTER TABLE {table}
    ADD COLUMN IF NOT EXISTS _born bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS _stamp bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS _fields jsonb,
    ADD COLUMN IF NOT EXISTS _base jsonb
"""

_RELATION = """
INSERT INTO fabric.relation (rel, key, columns, rules)
    VALUES ({rel}, {key}, {columns}, {rules})
    ON CONFLICT (rel) DO UPDATE
    SET key = EXCLUDED.key, columns = EXCLUDED.columns, rules = EXCLUDED.rules
"""

# Sequences draw only numbers that are this replica's node modulo the step.
_INTERLEAVE = """
DO $interleave$
DECLARE
    name text;
    drawn bigint;
BEGIN
    FOREACH name IN ARRAY {names}::text[] LOOP
        -- The view pg_sequences would read every sequence of the database for each of these.
        drawn := coalesce((pg_sequence_last_value(name::regclass) / {step} + 1) * {step}, 0);
        EXECUTE format('ALTER SEQUENCE %s INCREMENT BY {step} RESTART WITH %s', name,
                       drawn + (SELECT node FROM fabric.member));
    END LOOP;
END $interleave$
"""


# Which tables these are, and what would help.
_OBSTACLES = {
    "keyless": ("without a primary key", "Give them one"),
    "heirs": ("that inherit, or are inherited from,", "Make them partitions, or each its own"),
    "ruled": ("with rules", "Use triggers"),
    "overtaken": ("with BEFORE triggers that fire after zz_fabric_stamp_update", "Rename those"),
}


class NotReplicable(RegionsError):
    """Tables are of a kind that cannot be replicated."""


def attach(
    connection: Connection,
    schema: str,
    *,
    tenant_column: str | None = None,
    tenant: UUID | None = None,
    local_tables: Collection[str] = (),
) -> list[str]:
    """Put every table of `schema` under the fabric, except `local_tables`; returns their names.

    `tenant` is the tenant that all rows belong to; with `tenant_column` each row says its own
    (the log reads `tenant_id`). Raises NotReplicable, naming the tables, before it changes any.
    """
    if tenant_column not in (None, "tenant_id"):
        raise ValueError(f"The log reads the tenant from tenant_id, not {tenant_column}.")
    tables = read_captured(connection, schema, without=local_tables)
    run(connection, lacking(tables, schema, tenant=str(tenant or "")))
    forget_dropped(connection, schema)
    return [table.name for table in tables]


def attach_table(connection: Connection, schema: str, name: str) -> None:
    """Put one table under the fabric whose rows are nobody's."""
    tables = [table for table in read_captured(connection, schema) if table.name == name]
    run(connection, lacking(tables, schema, tenant=""))


def run(connection: Connection, statements: Iterable[str]) -> None:
    """All in one message."""
    text = ";\n".join(statements)
    if text:
        connection.execute(text.encode())


def lacking(tables: Iterable[Captured], schema: str, *, tenant: str) -> list[str]:
    """The statements that put `tables` of `schema` under the fabric; [] when they are.

    `schema` and `tenant` are only written into the statements: they may stand for others. Raises
    NotReplicable.
    """
    every = list(tables)
    for obstacle, (which, cure) in _OBSTACLES.items():
        if names := [table.name for table in every if obstacle in table.obstacles]:
            raise NotReplicable(
                f"Tables {which} cannot be replicated: {', '.join(names)}. {cure}, or declare them "
                "local in MERIDIAN_LOCAL_TABLES."
            )
    statements: list[sql.Composed] = []
    for table in every:
        statements += _lacking_of(table, schema, tenant)
    names = [
        sql.Identifier(schema, name).as_string() for table in every for name in table.sequences
    ]
    if names:
        statements.append(
            sql.SQL(_INTERLEAVE).format(names=_array(names), step=sql.Literal(SEQUENCE_STEP))
        )
    return [statement.as_string().strip() for statement in statements]


def _lacking_of(table: Captured, schema: str, tenant: str) -> list[sql.Composed]:
    found = []
    name = sql.Identifier(schema, table.name)
    if not set(HIDDEN_COLUMNS) <= set(table.columns):
        found.append(sql.SQL(_COLUMNS).format(table=name))
    written = (tenant, *table.key)
    wanted: dict[str, tuple[str, ...]] = dict.fromkeys(TRIGGERS, ())
    unnoted = (*HIDDEN_COLUMNS, *table.generated)
    wanted |= {"zz_fabric_stamp_update": unnoted, "fabric_open": _OPENED}
    wanted |= dict.fromkeys(("fabric_insert", "fabric_update", "fabric_delete"), written)
    ruled = rules.declared(table.name, table.columns)
    keepers = rules.triggers(ruled)
    wanted |= {trigger.name: trigger.arguments for trigger in keepers}
    if table.arguments != wanted or table.known_key != table.key:
        found.append(
            sql.SQL(_TRIGGERS).format(
                table=name,
                stamp=_STAMP,
                opened=_listed(map(sql.Literal, _OPENED)),
                unnoted=_listed(map(sql.Literal, unnoted)),
                old_key=_listed(sql.Identifier("old", column) for column in table.key),
                new_key=_listed(sql.Identifier("new", column) for column in table.key),
                tenant=sql.Literal(tenant),
                key=_listed(sql.Literal(column) for column in table.key),
            )
        )
        found += [trigger.statement(name) for trigger in keepers]
        found += [
            sql.SQL("DROP TRIGGER {} ON {}").format(sql.Identifier(trigger), name)
            for trigger in sorted(table.arguments.keys() - wanted.keys())
        ]
    found += [
        sql.SQL(_PART).format(part=sql.Identifier(where or schema, part))
        for where, part in table.open_parts
    ]
    columns = tuple(sorted({*table.columns, *HIDDEN_COLUMNS}))
    known = (table.known_key, table.known_columns, table.known_rules)
    if known != (table.key, columns, ruled):
        found.append(
            sql.SQL(_RELATION).format(
                rel=sql.Literal(f"{schema}.{table.name}"),
                key=_array(table.key),
                columns=_array(columns),
                rules=sql.Literal(json.dumps(ruled)),
            )
        )
    return found


def forget_dropped(connection: Connection, schema: str) -> None:
    """What the fabric knows of tables that are no longer there, or a part of another one now."""
    rows = connection.execute(
        "SELECT rel FROM fabric.relation WHERE split_part(rel, '.', 1) = %s AND NOT EXISTS ("
        "SELECT FROM pg_class WHERE NOT relispartition AND oid ="
        " to_regclass(quote_ident(%s) || '.' || quote_ident(split_part(rel, '.', 2))))",
        (schema, schema),
    ).fetchall()
    for (rel,) in rows:
        for table in ("relation", "tombstone"):
            connection.execute(
                sql.SQL("DELETE FROM {} WHERE rel = %s").format(sql.Identifier("fabric", table)),
                (rel,),
            )


def detach_schema(connection: Connection, schema: str) -> None:
    """Forget a schema's tables, before it is dropped."""
    for table in ("relation", "tombstone", "conflict", "dead_letter"):
        connection.execute(
            sql.SQL("DELETE FROM {} WHERE split_part(rel, '.', 1) = %s").format(
                sql.Identifier("fabric", table)
            ),
            (schema,),
        )


def _listed(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)


def _array(names: Iterable[str]) -> sql.Composed:
    return sql.SQL("ARRAY[{}]").format(_listed(sql.Literal(name) for name in names))
