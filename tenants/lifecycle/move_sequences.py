"""After a move: every region of the target draws numbers that no row there has yet."""

from __future__ import annotations

from psycopg import sql

from regions.current import deployment
from regions.replication.captured import SEQUENCE_STEP
from tenants.isolation.owner import Connection
from tenants.lifecycle.move_rows import Content, whose
from tenants.lifecycle.move_side import Side

_OWNED = """
SELECT s.relnamespace::regnamespace::text, s.relname, a.attname
  FROM pg_depend d
  JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
  JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 WHERE d.refobjid = %s::regclass AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
"""


def advance_sequences(target: Side, contents: list[Content]) -> None:
    """Never moves one back. The rows must have been copied."""
    home = target.sessions[target.home]
    for content in contents:
        table = sql.Identifier(target.tenant.schema, content.name)
        for schema, name, column in home.execute(_OWNED, (table.as_string(home),)).fetchall():
            row = home.execute(
                sql.SQL("SELECT coalesce(max({}), 0) FROM {}{}").format(
                    sql.Identifier(column), table, whose(target)
                )
            ).fetchone()
            for region, session in target.sessions.items():
                node = deployment().region(region).node
                _advance(session, sql.Identifier(schema, name), row[0] if row else 0, node)


def _advance(session: Connection, sequence: sql.Identifier, highest: int, node: int) -> None:
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
