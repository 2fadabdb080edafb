"""Sequences that draw numbers which no row has yet, in whichever region."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from regions.replication.captured import SEQUENCE_STEP

Connection = psycopg.Connection[Any]

_OWNED = """
SELECT s.relnamespace::regnamespace::text, s.relname, a.attname
  FROM pg_depend d
  JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
  JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 WHERE d.refobjid = %s::regclass AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
"""


def owned_by(session: Connection, table: sql.Identifier) -> list[tuple[sql.Identifier, str]]:
    """The table's own sequences, each with the column that it is for."""
    rows = session.execute(_OWNED, (table.as_string(session),)).fetchall()
    return [(sql.Identifier(schema, name), column) for schema, name, column in rows]


def advance(session: Connection, sequence: sql.Identifier, highest: int, node: int) -> None:
    """The next number is greater than `highest` and the node's. Never moves one back."""
    first = (highest // SEQUENCE_STEP + 1) * SEQUENCE_STEP + node
    last = sql.SQL("SELECT last_value FROM {}").format(sequence)
    if _value(session, last) >= first:
        return
    with session.transaction():
        # Changes nothing, and keeps others from drawing until this is done.
        session.execute(
            sql.SQL("ALTER SEQUENCE {} INCREMENT BY {}").format(
                sequence, sql.Literal(SEQUENCE_STEP)
            )
        )
        if _value(session, last) < first:
            session.execute(
                "SELECT setval(%s::regclass, %s, false)", (sequence.as_string(session), first)
            )


def _value(session: Connection, query: sql.Composed) -> int:
    row = session.execute(query).fetchone()
    return int(row[0]) if row else 0
