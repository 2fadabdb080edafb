"""After a move: every region of the target draws numbers that no row there has yet."""

from __future__ import annotations

from psycopg import sql

from regions.current import deployment
from regions.replication import sequences
from tenants.lifecycle.move_contents import Content, whose
from tenants.lifecycle.move_side import Side


def advance_sequences(target: Side, contents: list[Content]) -> None:
    """Never moves one back. The rows must have been copied."""
    home = target.sessions[target.home]
    for content in contents:
        table = sql.Identifier(target.tenant.schema, content.name)
        for sequence, column in sequences.owned_by(home, table):
            row = home.execute(
                sql.SQL("SELECT coalesce(max({}), 0) FROM {} WHERE {}").format(
                    sql.Identifier(column), table, whose(target)
                )
            ).fetchone()
            for region, session in target.sessions.items():
                node = deployment().region(region).node
                sequences.advance(session, sequence, row[0] if row else 0, node)
