"""Keeps tenants that are over their quota from adding rows, in the database itself.

Guarantees that no SQL of the application's role adds a row (or, far over the quota, changes one)
to any tenant table of such a tenant: the rows themselves say whose they are. SQLSTATE MQT01.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from psycopg import sql

from tenants.isolation.catalog import REFERENCE_TABLES, Connection

_SQL = (Path(__file__).parent / "quota.sql").read_text()

_UNGUARDED = """
SELECT c.relname FROM pg_class c
 WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)
   AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> ALL (%s)
   AND (SELECT count(*) FROM pg_trigger t
         WHERE t.tgrelid = c.oid AND t.tgname IN ('tenancy_quota_insert', 'tenancy_quota_update')
           AND t.tgenabled = 'O') < 2
 ORDER BY c.relname
"""

_TRIGGERS = """
CREATE OR REPLACE TRIGGER tenancy_quota_insert AFTER INSERT ON {table}
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION tenancy.check_quota({mode});
CREATE OR REPLACE TRIGGER tenancy_quota_update AFTER UPDATE ON {table}
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION tenancy.check_quota({mode})
"""


@dataclass(frozen=True, slots=True)
class Excess:
    """`what` is `rows` or `bytes`; `no_updates`: so far over that only deletions are let in."""

    tenant: UUID
    schema: str
    what: str
    used: int
    allowed: int
    no_updates: bool


def install(connection: Connection) -> None:
    """As the cell database's owner."""
    connection.execute(_SQL.encode())


def installed(connection: Connection) -> bool:
    found = connection.execute("SELECT to_regclass('tenancy.over_quota') IS NOT NULL").fetchone()
    return bool(found and found[0])


def unguarded(connection: Connection, schema: str) -> list[str]:
    """Tables that a tenant could fill without end; [] when all is well."""
    rows = connection.execute(_UNGUARDED, (schema, sorted(REFERENCE_TABLES)))
    return [name for (name,) in rows]


def guard(connection: Connection, schema: str, *, shared: bool) -> None:
    """Put every table of the schema under the check, in one message."""
    if not installed(connection):
        install(connection)
    names = unguarded(connection, schema)
    if not names:
        return
    mode = sql.Literal("shared" if shared else "")
    with connection.transaction():
        connection.execute(
            sql.SQL(";\n").join(
                sql.SQL(_TRIGGERS).format(table=sql.Identifier(schema, name), mode=mode)
                for name in names
            )
        )


def publish(agent: Connection, excesses: Iterable[Excess]) -> None:
    """From now on exactly these are over their quota in this replica."""
    found = {excess.tenant: excess for excess in excesses}
    with agent.transaction():
        agent.execute("DELETE FROM tenancy.over_quota WHERE tenant <> ALL (%s)", (list(found),))
        for excess in found.values():
            agent.execute(
                "INSERT INTO tenancy.over_quota AS o"
                " (tenant, schema_name, what, used, allowed, no_updates)"
                " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (tenant) DO UPDATE"
                " SET (schema_name, what, used, allowed, no_updates)"
                " = (EXCLUDED.schema_name, EXCLUDED.what, EXCLUDED.used, EXCLUDED.allowed,"
                "    EXCLUDED.no_updates)",
                (
                    excess.tenant,
                    excess.schema,
                    excess.what,
                    excess.used,
                    excess.allowed,
                    excess.no_updates,
                ),
            )
