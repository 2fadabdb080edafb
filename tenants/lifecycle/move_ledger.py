"""A tenant's part of the conflict ledger goes with it, and what of it has been restored.

A loss is recorded in some regions of the source; in the target each region has all of them. Tables
and keys are named as the target has them, so entries get other ids than they had.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from tenants.isolation.rewrite import TENANT_COLUMN
from tenants.lifecycle.move_contents import Connection, Content
from tenants.lifecycle.move_side import Side

Entry = tuple[Any, ...]

_KEYS = """
SELECT split_part(rel, '.', 2), key FROM fabric.relation WHERE split_part(rel, '.', 1) = %s
"""
_READ = """
SELECT id, split_part(rel, '.', 2), pk, field, loser_stamp, loser, winner_stamp, winner, rule, at
  FROM fabric.conflict WHERE tenant = %s AND split_part(rel, '.', 1) = %s
"""
_DONE = "SELECT conflict, by, region, at FROM fabric.restored WHERE tenant_id = %s"
_WRITE = """
INSERT INTO fabric.conflict
       (rel, pk, field, loser_stamp, loser, winner_stamp, winner, rule, at, tenant)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
# Replicated: written once, where the cell is written.
_RESTORED = sql.SQL("""
INSERT INTO fabric.restored (tenant_id, conflict, by, region, at)
VALUES (%s, fabric.conflict_id(%s, %s, %s, %s, %s), %s, %s, %s) ON CONFLICT DO NOTHING
""")


def carry_ledger(source: Side, target: Side, contents: list[Content]) -> None:
    """Of the tables that are moved. Nobody writes for the tenant meanwhile, and the source's home
    has heard of all that was restored; safe to repeat."""
    home = source.sessions[source.home]
    here = _keys(home, source)
    there = _keys(target.sessions[target.home], target)
    moved = {content.name for content in contents}
    found: dict[UUID, Entry] = {
        entry[0]: entry[1:]
        for session in source.sessions.values()
        for entry in session.execute(_READ, (source.tenant.id, source.tenant.schema))
        if entry[1] in moved
    }
    done = {row[0]: row[1:] for row in home.execute(_DONE, (source.tenant.id,))}
    entries, restored = [], []
    for id_, (table, pk, field, stamp, loser, winner_stamp, winner, rule, at) in found.items():
        named = dict(zip(here[table], pk, strict=True)) | {TENANT_COLUMN: str(target.tenant.id)}
        rel = f"{target.tenant.schema}.{table}"
        identity = (rel, [named[column] for column in there[table]], field, stamp, _json(loser))
        entries.append((*identity, winner_stamp, _json(winner), rule, at, target.tenant.id))
        if id_ in done:
            restored.append((target.tenant.id, *identity, *done[id_]))
    for session in target.sessions.values():
        with session.transaction(), session.cursor() as cursor:
            cursor.executemany(_WRITE, entries)
    with target.rows() as writer, writer.cursor() as cursor:
        cursor.executemany(_RESTORED, restored)


def _keys(session: Connection, side: Side) -> dict[str, list[str]]:
    return dict(session.execute(_KEYS, (side.tenant.schema,)).fetchall())


def _json(value: Any) -> Jsonb | None:
    return None if value is None else Jsonb(value)
