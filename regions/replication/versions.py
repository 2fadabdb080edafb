"""Staged rows from a replica whose tables are at another version than ours.

Guarantees that nothing is dropped in silence. A field that has no column here yet is refused, so
that its change is parked and tried again once a migration has brought the column. A field that
the sender does not have yet keeps the value that the row has here, or gets the column's default.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from regions.replication.statements import Relation

Connection = psycopg.AsyncConnection[Any]

# What PostgreSQL computes by itself travels in the log too, and is no stranger.
_UNKNOWN = """
SELECT min(field)
  FROM (SELECT DISTINCT jsonb_object_keys(content - %(columns)s::text[]) AS field
          FROM pg_temp.stage WHERE rel = %(rel)s) AS found
 WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = %(table)s::regclass
                    AND attname = field AND attnum > 0 AND NOT attisdropped)
"""

_DEFAULTS = """
SELECT a.attname, pg_get_expr(d.adbin, d.adrelid)
  FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = %s::regclass AND a.attname = ANY(%s) AND a.attgenerated = ''
"""

# The row that is here counts only if it is the same one, not an earlier one with its key.
_FILL = sql.SQL("""
UPDATE pg_temp.stage s
   SET content = {defaults}
              || coalesce((SELECT to_jsonb(t) FROM {table} t WHERE {matches}
                              AND t._born = (s.content ->> '_born')::bigint), '{{}}')
              || s.content
 WHERE s.rel = {rel} AND NOT s.content ?& {columns}
""")


async def refuse_unknown_fields(connection: Connection, relation: Relation) -> None:
    """Raises UndefinedColumn, naming the first field that has no column."""
    found = await connection.execute(
        _UNKNOWN,
        {
            "rel": relation.name,
            "table": relation.table.as_string(),
            "columns": list(relation.columns),
        },
    )
    row = await found.fetchone()
    if row is not None and row[0] is not None:
        raise psycopg.errors.UndefinedColumn(
            f"{relation.name} has no column {row[0]} in this replica yet"
        )


async def fill_missing_fields(connection: Connection, relation: Relation) -> None:
    """Complete the staged rows: from the row that is here, else from the columns' defaults."""
    table = relation.table.as_string()
    found = await connection.execute(_DEFAULTS, (table, list(relation.visible)))
    pairs = [
        # The expression is the catalog's own text of the column's default.
        sql.SQL("{}, to_jsonb({})").format(sql.Literal(column), sql.SQL(default))
        for column, default in await found.fetchall()
    ]
    await connection.execute(
        _FILL.format(
            defaults=sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(pairs)),
            table=relation.table,
            matches=relation.matches,
            rel=sql.Literal(relation.name),
            columns=sql.SQL("{}::text[]").format(sql.Literal(list(relation.columns))),
        )
    )
