"""Takes from everybody, in a cell's database, what PostgreSQL lets every role see and do.

Guarantees that under the application's role nothing tells of other sessions, databases, tenants'
row counts or sizes; that no function changes a session for its next tenant, or stops another
session; and that a command can't hide in a block of procedural code. Runs as the administrator;
safe to repeat. Where the administrator is no superuser (managed PostgreSQL), some of it may be
refused: `open_doors` tells what is still open.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import errors, sql

from regions.deployment import AGENT_ROLE, APP_ROLE, OWNER_ROLE, PEER_ROLE

Connection = psycopg.Connection[Any]

# Each a regular expression of names in pg_catalog, and why.
FUNCTIONS = {
    "set_config|setseed": "changes the session for its next tenant",
    "pg_(try_)?advisory_.*": "takes locks that other tenants wait for",
    "pg_(cancel|terminate)_backend": "stops other tenants' sessions",
    "lo_.*|loread|lowrite": "reads and writes large objects, which have no tenant",
    "pg_stat_get_.*|pg_stat_have_stats|pg_stat_force_next_flush": "shows what others do",
    "pg_lock_status|pg_blocking_pids|pg_safe_snapshot_blocking_pids": "shows others' locks",
    "pg_prepared_xact|pg_get_replication_slots|pg_show_replication_origin_status": (
        "shows others' transactions and cells"
    ),
    "pg_(database|tablespace|relation|table|total_relation|indexes)_size": (
        "tells how much others store"
    ),
    "pg_relation_filenode|pg_relation_filepath|pg_filenode_relation": "leads to others' files",
    "pg_current_wal_.*|pg_last_.*|pg_notification_queue_usage|pg_control_.*|pg_.*wal_summar.*"
    "|pg_xact_commit_timestamp(_origin)?": "tells how much others write",
    "pg_notify|pg_logical_emit_message": "fills a queue, or a log, that all cells share",
    "pg_export_snapshot": "writes files, which no limit counts",
    "pg_isolation_test_session_is_blocked": "shows others' locks",
    "pg_get_triggerdef|pg_describe_object|pg_identify_object(_as_address)?|shobj_description": (
        "names tenants, databases and roles"
    ),
    "pg_get_publication_tables": "names what is replicated",
    "pg_tablespace_databases|has_database_privilege": "tells which cells there are",
}
# Hidden whole. Views on the functions above are shut by them.
CATALOGS = {
    "pg_database": "names the cells",
    "pg_policy": "names the tenants",
    "pg_policies": "names the tenants",
    "pg_roles": "names the cells",
    "pg_user": "names the cells",
    "pg_group": "names the cells",
    "pg_auth_members": "names the roles' members",
    "pg_subscription": "names the cells",
    "pg_replication_origin": "counts the cells",
    "pg_shdepend": "counts the cells' objects",
    "pg_largeobject_metadata": "lists large objects",
    "pg_db_role_setting": "lists the cells' settings",
}
# Of these only the other columns are for everybody: introspection needs them.
COLUMNS = {
    "pg_class": ["reltuples", "relpages", "relallvisible", "relallfrozen", "relfilenode"],
    "pg_trigger": ["tgargs"],
}
LANGUAGES = ("plpgsql", "sql")

_OPERATORS = (OWNER_ROLE, AGENT_ROLE, PEER_ROLE, "pg_monitor")

_FOUND = """
SELECT oid::regprocedure::text FROM pg_proc
 WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ %s ORDER BY 1
"""
_COLUMNS = """
SELECT attname FROM pg_attribute
 WHERE attrelid = ('pg_catalog.' || %s)::regclass AND NOT attisdropped AND attname <> ALL (%s)
   AND attnum <> 0 AND attname NOT IN ('tableoid', 'cmax', 'xmax', 'cmin', 'xmin', 'ctid')
 ORDER BY attnum
"""
_OPEN_FUNCTIONS = """
SELECT DISTINCT proname::text FROM pg_proc
 WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ %s
   AND has_function_privilege(%s, oid, 'EXECUTE') ORDER BY 1
"""


def harden(administrator: Connection) -> None:
    """Shut everything that the administrator is able to shut. The administrator, the platform's
    other roles and the peers keep what they had."""
    kept = sql.SQL(", ").join(map(sql.Identifier, _OPERATORS))
    for statement in _statements(administrator, sql.SQL("CURRENT_USER, {}").format(kept)):
        try:
            administrator.execute(statement)
        except errors.InsufficientPrivilege:
            # Not its own: `open_doors` says so, to whoever asks the doctor.
            continue


def open_doors(connection: Connection) -> list[str]:
    """What the application's role can still use in this database, one sentence each."""
    found = []
    for pattern, why in FUNCTIONS.items():
        rows = connection.execute(_OPEN_FUNCTIONS, (_whole(pattern), APP_ROLE))
        found += [f"the function {name}() {why}" for (name,) in rows]
    for name, why in CATALOGS.items():
        if _may_select(connection, name, None):
            found.append(f"the catalog {name} {why}")
    for name, columns in COLUMNS.items():
        found += [
            f"the column {name}.{column} tells of others' rows"
            for column in columns
            if _may_select(connection, name, column)
        ]
    for language in LANGUAGES:
        row = connection.execute(
            "SELECT has_language_privilege(%s, %s, 'USAGE')", (APP_ROLE, language)
        ).fetchone()
        if row and row[0]:
            found.append(f"the language {language} runs commands inside DO blocks")
    row = connection.execute(
        "SELECT has_table_privilege(%s, 'pg_catalog.pg_settings', 'UPDATE')", (APP_ROLE,)
    ).fetchone()
    if row and row[0]:
        found.append("updating pg_settings changes the session for its next tenant")
    return found


def _statements(connection: Connection, kept: sql.Composed) -> Iterator[sql.Composed]:
    for pattern in FUNCTIONS:
        names = [row[0] for row in connection.execute(_FOUND, (_whole(pattern),))]
        if names:
            yield sql.SQL(
                "REVOKE EXECUTE ON FUNCTION {names} FROM PUBLIC;"
                "GRANT EXECUTE ON FUNCTION {names} TO {kept}"
            ).format(names=sql.SQL(", ").join(map(sql.SQL, names)), kept=kept)
    for name in CATALOGS:
        yield sql.SQL(
            "REVOKE ALL ON {name} FROM PUBLIC; {columns}; GRANT SELECT ON {name} TO {kept}"
        ).format(
            name=sql.Identifier("pg_catalog", name),
            columns=_without_columns(connection, name),
            kept=kept,
        )
    for name, hidden in COLUMNS.items():
        shown = [row[0] for row in connection.execute(_COLUMNS, (name, hidden))]
        yield sql.SQL(
            "REVOKE ALL ON {name} FROM PUBLIC; GRANT SELECT ({shown}) ON {name} TO PUBLIC;"
            "GRANT SELECT ON {name} TO {kept}"
        ).format(
            name=sql.Identifier("pg_catalog", name),
            shown=sql.SQL(", ").join(map(sql.Identifier, shown)),
            kept=kept,
        )
    for language in LANGUAGES:
        yield sql.SQL(
            "REVOKE USAGE ON LANGUAGE {language} FROM PUBLIC;"
            "GRANT USAGE ON LANGUAGE {language} TO {owner}"
        ).format(language=sql.Identifier(language), owner=sql.Identifier(OWNER_ROLE))
    yield sql.SQL("REVOKE UPDATE ON pg_catalog.pg_settings FROM PUBLIC").format()


def _without_columns(connection: Connection, name: str) -> sql.Composed:
    """pg_subscription is open by the column; REVOKE names them."""
    columns = [row[0] for row in connection.execute(_COLUMNS, (name, []))]
    return sql.SQL("REVOKE SELECT ({columns}) ON {name} FROM PUBLIC").format(
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        name=sql.Identifier("pg_catalog", name),
    )


def _may_select(connection: Connection, name: str, column: str | None) -> bool:
    relation = f"pg_catalog.{name}"
    if column is None:
        query = "SELECT has_any_column_privilege(%s, %s, 'SELECT')"
        row = connection.execute(query, (APP_ROLE, relation)).fetchone()
    else:
        query = (
            "SELECT has_column_privilege(%s, attrelid, attnum, 'SELECT') FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attname = %s"
        )
        row = connection.execute(query, (APP_ROLE, relation, column)).fetchone()
    return bool(row and row[0])


def _whole(pattern: str) -> str:
    return f"^({pattern})$"
