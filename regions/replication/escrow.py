"""Bounded counters: answers other regions that would like to hold rights, out of this one's own.

What is given is in the row's state, so it travels like any change; whoever gave it has it no more,
in the same transaction. A row that somebody is writing is left for the next time.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from regions.replication import rules
from regions.replication.session import Session
from regions.replication.shapes import KNOWN, Relation, relation_of

KEEP_WANTS = "10 minutes"  # whoever was cut off for less is heard
AT_ONCE = 100  # any of them: one tenant's many must not keep another's waiting

_WANTED = sql.SQL("""
SELECT w.rel, w.pk, w.field, w.node, {known} FROM fabric.want w JOIN fabric.relation r USING (rel)
 ORDER BY random() LIMIT {at_once}
""").format(known=KNOWN, at_once=AT_ONCE)

_ANY = "SELECT EXISTS (SELECT FROM fabric.want)"

_GIVE = """
SELECT given, held >= w.amount FROM fabric.want w
 CROSS JOIN LATERAL fabric.give_rights(to_regclass($5), $6, w, $7)
 WHERE (w.rel, w.pk, w.field, w.node) = ($1, $2, $3, $4)
"""

_FORGET = "DELETE FROM fabric.want WHERE (rel, pk, field, node) = ($1, $2, $3, $4)"
_FORGET_OLD = "DELETE FROM fabric.want WHERE at < now() - $1::interval"


async def answer(session: Session) -> int:
    """Give what is wanted and can be spared; returns how many wants got something."""
    done = 0
    if not (await session.fetch(_ANY))[0][0]:
        return done
    await session.execute(_FORGET_OLD, (KEEP_WANTS,))
    for rel, pk, field, node, *known in await session.fetch(_WANTED):
        want = (rel, pk, field, node)
        try:
            async with session.connection.transaction():
                done += await _answer(session, relation_of(rel, *known), want)
        except psycopg.errors.OperationalError:
            raise
        except psycopg.Error:
            # The table is changing; who wants it says so again.
            await session.execute(_FORGET, want)
    return done


async def _answer(session: Session, relation: Relation, want: tuple[Any, ...]) -> bool:
    """Whether anything was given."""
    rule = dict(relation.rules).get(want[2], "")
    if rules.kind(rule) != "bounded":
        await session.execute(_FORGET, want)
        return False
    table = relation.table.as_string(session.connection)
    matching = _matching(relation).as_string(session.connection)
    found = await session.fetch(_GIVE, (*want, table, matching, rules.bound(rule)))
    given, enough = found[0] if found else (False, False)
    if enough:
        await session.execute(_FORGET, want)
    return bool(given)


def _matching(relation: Relation) -> sql.Composed:
    """By the key's texts, as $1 has them."""
    return sql.SQL(" AND ").join(
        sql.SQL("{} = $1[{}]::{}").format(
            sql.Identifier(column),
            sql.Literal(place),
            sql.SQL(relation.plain[column].type),  # the catalog's own text
        )
        for place, column in enumerate(relation.key, 1)
    )
