"""Does in a replica that went back in time what was erased in its cell since then.

An erasure is no deletion: nothing is captured, and no tombstone keeps what is gone. Each replica
notes whom it has erased (`fabric.erased`), so an old backup is told by its peers, and a comparison
does not give them back what it still has.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from regions.replication.captured import arguments_of

Connection = psycopg.Connection[Any]

LOGS = ("change", "tombstone", "conflict", "dead_letter")  # by `tenant`
TENANT_COLUMN = "tenant_id"

_ERASED = "SELECT tenant FROM fabric.erased"
_TABLES = """
SELECT n.nspname, c.relname,
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND attname = %s
                  AND NOT attisdropped),
       (SELECT encode(tgargs, 'hex') FROM pg_trigger
         WHERE tgrelid = c.oid AND tgname = 'fabric_insert')
  FROM fabric.relation r
  JOIN pg_namespace n ON n.nspname = split_part(r.rel, '.', 1)
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = substr(r.rel, strpos(r.rel, '.') + 1)
"""


def forget(administrator: Connection, tenant: UUID) -> int:
    """Delete what the fabric keeps of an erased tenant in one replica, and note that it is erased;
    returns how many rows."""
    columns = dict.fromkeys(LOGS, "tenant") | dict.fromkeys(("restored", "task"), TENANT_COLUMN)
    with administrator.transaction():
        # Each replica forgets by itself: nothing of it is captured.
        administrator.execute("SET LOCAL session_replication_role = replica")
        administrator.execute(
            "INSERT INTO fabric.erased (tenant) VALUES (%s) ON CONFLICT DO NOTHING", (tenant,)
        )
        return sum(
            administrator.execute(
                sql.SQL("DELETE FROM fabric.{} WHERE {} = %s").format(
                    sql.Identifier(log), sql.Identifier(column)
                ),
                (tenant,),
            ).rowcount
            for log, column in columns.items()
        )


def catch_up(here: Connection, peers: Iterable[Connection]) -> set[UUID]:
    """Erase here whom the peers have erased and this replica has not; returns them."""
    missed = set().union(*map(_erased, peers)) - _erased(here)
    for tenant in missed:
        with here.transaction():
            here.execute("SET LOCAL session_replication_role = replica")
            _erase(here, tenant)
            forget(here, tenant)
    return missed


def _erased(session: Connection) -> set[UUID]:
    return {tenant for (tenant,) in session.execute(_ERASED)}


def _erase(here: Connection, tenant: UUID) -> None:
    own: set[str] = set()
    for schema, table, by_row, encoded in here.execute(_TABLES, (TENANT_COLUMN,)).fetchall():
        owner = arguments_of(encoded)[0] if encoded else ""
        if owner == str(tenant):
            own.add(schema)
        elif by_row:
            here.execute(
                sql.SQL("DELETE FROM {} WHERE {} = %s").format(
                    sql.Identifier(schema, table), sql.Identifier(TENANT_COLUMN)
                ),
                (tenant,),
            )
    for schema in own - {"public"}:
        here.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
        here.execute("DELETE FROM fabric.relation WHERE split_part(rel, '.', 1) = %s", (schema,))
