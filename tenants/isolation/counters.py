"""Counters that are past the rows which migrations wrote with keys of their own.

Content types and permissions draw no numbers: theirs follow from their names.
"""

from __future__ import annotations

from psycopg import sql

from tenants.isolation.catalog import REFERENCE_TABLES
from tenants.isolation.owner import Connection

_OWNED = """
SELECT s.relname, t.relname, a.attname, coalesce(pg_sequence_last_value(s.oid), 0)
  FROM pg_class s
  JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid
                  AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
  JOIN pg_class t ON t.oid = d.refobjid
  JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
 WHERE s.relkind = 'S' AND t.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)
   AND t.relname <> ALL (%s)
 ORDER BY s.relname
"""


def leave_behind(connection: Connection, schema: str) -> None:
    """As the owner, before the tables are under isolation: then it sees no rows any more."""
    owned = connection.execute(_OWNED, (schema, sorted(REFERENCE_TABLES))).fetchall()
    if not owned:
        return
    highest = connection.execute(
        sql.SQL("SELECT {}").format(
            sql.SQL(", ").join(
                sql.SQL("(SELECT coalesce(max({}), 0) FROM {})").format(
                    sql.Identifier(column), sql.Identifier(schema, table)
                )
                for _, table, column, _ in owned
            )
        )
    ).fetchone()
    for (sequence, _, _, last), top in zip(owned, highest or (), strict=True):
        if top and top >= last:
            # Also when a migration has done so: a recording leaves its SELECT setval(…) out.
            connection.execute(
                sql.SQL("DO $do$ BEGIN PERFORM setval({}::regclass, {}); END $do$").format(
                    sql.Literal(sql.Identifier(schema, sequence).as_string(connection)),
                    sql.Literal(top),
                )
            )
