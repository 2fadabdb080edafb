"""Content types and permissions get the same ids in every database.

They are made locally by each migration and never replicated, yet replicated rows point at them.
Guarantees that an id follows from what the row names: installed before or after the rows are
made, the outcome is the same.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

Connection = psycopg.Connection[Any]

# A row's natural key. A permission names its content type by id, which is itself derived.
_KEYS = {
    "django_content_type": ("app_label", "model"),
    "auth_permission": ("content_type_id", "codename"),
}

_FUNCTION = """
CREATE OR REPLACE FUNCTION {schema}.meridian_reference_id(natural_key text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (('x' || left(md5(natural_key), 8))::bit(32)::integer & 2147483647);
CREATE OR REPLACE FUNCTION {schema}.meridian_content_type_id() RETURNS trigger
    LANGUAGE plpgsql AS $body$
BEGIN
    NEW.id := {schema}.meridian_reference_id(NEW.app_label || '.' || NEW.model);
    RETURN NEW;
END $body$;
CREATE OR REPLACE FUNCTION {schema}.meridian_permission_id() RETURNS trigger
    LANGUAGE plpgsql AS $body$
BEGIN
    NEW.id := {schema}.meridian_reference_id(NEW.content_type_id || '.' || NEW.codename);
    RETURN NEW;
END $body$;
"""

_TRIGGERS = {
    "django_content_type": "meridian_content_type_id",
    "auth_permission": "meridian_permission_id",
}

_REFERENCES = """
SELECT k.conrelid::regclass::text, a.attname
FROM pg_constraint k
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
WHERE k.contype = 'f' AND k.confrelid = %s::regclass AND cardinality(k.conkey) = 1
"""


def install(connection: Connection, schema: str = "public") -> None:
    """Triggers on those of the tables that exist, and derived ids for rows that have others.

    As the tables' owner; idempotent.
    """
    with connection.transaction():
        path = sql.Identifier(schema)
        connection.execute("SET CONSTRAINTS ALL DEFERRED")
        created = False
        for table, columns in _KEYS.items():
            name = sql.SQL("{}.{}").format(path, sql.Identifier(table))
            present = connection.execute(
                "SELECT to_regclass(%s) IS NOT NULL", (name.as_string(connection),)
            ).fetchone()
            if not present or not present[0]:
                continue
            if not created:
                connection.execute(sql.SQL(_FUNCTION).format(schema=path))
                created = True
            connection.execute(
                sql.SQL(
                    "CREATE OR REPLACE TRIGGER meridian_reference_id BEFORE INSERT ON {} "
                    "FOR EACH ROW EXECUTE FUNCTION {}.{}()"
                ).format(name, path, sql.Identifier(_TRIGGERS[table]))
            )
            _renumber(connection, path, name, columns)


def _renumber(
    connection: Connection,
    schema: sql.Identifier,
    table: sql.Composable,
    columns: tuple[str, ...],
) -> None:
    wanted = sql.SQL("{}.meridian_reference_id({})").format(
        schema, sql.SQL(" || '.' || ").join(sql.Identifier("was", column) for column in columns)
    )
    stray = connection.execute(
        sql.SQL("SELECT 1 FROM {} was WHERE id <> {} LIMIT 1").format(table, wanted)
    ).fetchone()
    if stray is None:
        return
    references = connection.execute(_REFERENCES, (table.as_string(connection),)).fetchall()
    for owner, column in references:
        connection.execute(
            sql.SQL("UPDATE {} child SET {} = {} FROM {} was WHERE child.{} = was.id").format(
                sql.SQL(owner),
                sql.Identifier(column),
                wanted,
                table,
                sql.Identifier(column),
            )
        )
    connection.execute(sql.SQL("UPDATE {} was SET id = {}").format(table, wanted))
