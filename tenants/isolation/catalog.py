"""What a schema's tables look like in the database's catalog, as plain values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from regions.deployment import APP_ROLE

Connection = psycopg.Connection[Any]

# The same for every tenant of a cell, readable and not writable: models and their permissions
# are part of the code.
REFERENCE_TABLES = frozenset({"django_content_type", "auth_permission", "django_migrations"})


@dataclass(frozen=True, slots=True)
class Constraint:
    """`kind` is PostgreSQL's: p primary key, u unique, f foreign key, x exclusion."""

    name: str
    kind: str
    definition: str
    columns: tuple[str, ...]
    target: str | None
    target_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """An index that backs no constraint."""

    name: str
    method: str
    definition: str
    first_column: str | None


@dataclass(frozen=True, slots=True)
class Table:
    """`policies`: by name, what each admits. `part`: it is a partition of another one."""

    schema: str
    name: str
    columns: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    indexes: tuple[Index, ...]
    forced: bool
    part: bool
    policies: Mapping[str, str]


_TABLES = """
SELECT c.oid, c.relname,
       (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       c.relrowsecurity AND c.relforcerowsecurity, c.relispartition,
       COALESCE((SELECT array_agg(ARRAY[p.polname::text,
                                        COALESCE(pg_get_expr(p.polqual, c.oid), '')])
                   FROM pg_policy p WHERE p.polrelid = c.oid), '{}')
FROM pg_class c
WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'p')
ORDER BY c.relname
"""

# By the tables' numbers: the catalog has no index by schema.
_CONSTRAINTS = """
SELECT c.relname, k.conname, k.contype::text, pg_get_constraintdef(k.oid),
       (SELECT array_agg(a.attname::text ORDER BY u.n)
          FROM unnest(k.conkey) WITH ORDINALITY u(no, n)
          JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.no),
       target.relname,
       (SELECT array_agg(a.attname::text ORDER BY u.n)
          FROM unnest(k.confkey) WITH ORDINALITY u(no, n)
          JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.no)
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
LEFT JOIN pg_class target ON target.oid = k.confrelid
WHERE k.conrelid = ANY (%(tables)s::oid[])
  AND k.contype IN ('p', 'u', 'f', 'x') AND k.conparentid = 0
ORDER BY k.conname
"""

_INDEXES = """
SELECT c.relname, i.relname, m.amname, pg_get_indexdef(x.indexrelid), a.attname
FROM pg_index x
JOIN pg_class c ON c.oid = x.indrelid
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_am m ON m.oid = i.relam
LEFT JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]
WHERE x.indrelid = ANY (%(tables)s::oid[])
  AND NOT EXISTS (SELECT FROM pg_constraint k
                   WHERE k.conrelid = x.indrelid AND k.conindid = x.indexrelid
                     AND k.contype IN ('p', 'u', 'x'))
ORDER BY i.relname
"""


def read_tables(
    connection: Connection, schema: str, *, without: Collection[str] = REFERENCE_TABLES
) -> list[Table]:
    """The schema's tables by name, except `without`."""
    # Definitions then name tables without a schema exactly when they are in this one.
    bind = {"schema": '"' + schema.replace('"', '""') + '"'}
    with connection.transaction():
        connection.execute("SELECT set_config('search_path', %(schema)s, true)", bind)
        found = connection.execute(_TABLES, bind).fetchall()
        numbers = {"tables": [row[0] for row in found]}
        constraints: dict[str, list[Constraint]] = {}
        for table, name, kind, definition, columns, target, target_columns in connection.execute(
            _CONSTRAINTS, numbers
        ):
            constraints.setdefault(table, []).append(
                Constraint(
                    name,
                    kind,
                    definition,
                    tuple(columns or ()),
                    target,
                    tuple(target_columns or ()),
                )
            )
        indexes: dict[str, list[Index]] = {}
        for table, name, method, definition, first in connection.execute(_INDEXES, numbers):
            indexes.setdefault(table, []).append(Index(name, method, definition, first))
        return [
            Table(
                schema=schema,
                name=name,
                columns=tuple(columns or ()),
                constraints=tuple(constraints.get(name, ())),
                indexes=tuple(indexes.get(name, ())),
                forced=forced,
                part=part,
                policies=dict(policies),
            )
            for _, name, columns, forced, part, policies in found
            if name not in without
        ]


_OPEN_COUNTERS = """
SELECT s.relname FROM pg_class s
  JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid AND d.deptype = 'i'
 WHERE s.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)
   AND CASE s.relkind WHEN 'S' THEN has_sequence_privilege(%s, s.oid, 'USAGE, SELECT, UPDATE') END
"""


def read_open_counters(connection: Connection, schema: str) -> list[str]:
    """The sequences of identity columns that the application's role may touch by name."""
    return [row[0] for row in connection.execute(_OPEN_COUNTERS, (schema, APP_ROLE))]
