"""Gives a new replica another one's content, in one transaction, while both are written.

Guarantees that the copy has all that the donor had when it began, that whatever the target had
before is gone, and that there is no copy at all if it breaks off. What is in it may come by the log
a second time: merging it again changes nothing.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from regions.errors import NotAlike
from regions.replication import sequences

Connection = psycopg.Connection[Any]

# Beside the tables: what the merge must know of rows that are not there, and what it discarded.
BOOKS = ("tombstone", "dead_letter", "conflict", "expelled", "erased")
_PROBES = "fabric.probe"  # each region forgets them by its own clock

# What a value's text depends on must be the same on both sides. No trigger of the copy fires.
_TEXT = """
SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres';
SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL xmloption = 'content';
SET LOCAL client_encoding = 'UTF8'; SET LOCAL lc_monetary = 'C'; SET LOCAL search_path = pg_catalog;
SET LOCAL session_replication_role = replica
"""

# By table: the columns that are written.
_TABLES = """
SELECT r.rel, array_agg(a.attname::text ORDER BY a.attname), r.key, r.rules
  FROM fabric.relation r
  JOIN pg_attribute a ON a.attrelid = to_regclass(quote_ident(split_part(r.rel, '.', 1)) || '.'
       || quote_ident(substr(r.rel, strpos(r.rel, '.') + 1)))
 WHERE attnum > 0 AND NOT attisdropped AND attgenerated = '' AND r.rel <> %s
 GROUP BY r.rel, r.key, r.rules
"""
_BOOK_COLUMNS = """
SELECT array_agg(attname::text ORDER BY attname) FROM pg_attribute
 WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
   AND attidentity = ''
"""
# What is declared for the cell.
_DECLARED = "SELECT verify_every, log_budget, over_budget FROM fabric.member"
_DECLARE = "UPDATE fabric.member SET verify_every = %s, log_budget = %s, over_budget = %s"
_TELL_TIME = """
SELECT setval('fabric.clock', greatest(last_value, %s)) FROM fabric.clock
"""


def copy(donor: Connection, target: Connection, *, node: int) -> int:
    """`target` has what `donor` has now, and nothing else; returns how many rows. Administrators'
    sessions. Raises NotAlike, naming the tables that are not the same on both sides."""
    with donor.transaction(), target.transaction():
        donor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        donor.execute(_TEXT)
        target.execute(_TEXT)
        tables = _alike(donor, target)
        rows = 0
        for rel, columns in tables.items():
            schema, _, name = rel.partition(".")
            rows += _copy(donor, target, sql.Identifier(schema, name), columns)
        for book in BOOKS:
            columns = _one(target, _BOOK_COLUMNS, f"fabric.{book}")
            _copy(donor, target, sql.Identifier("fabric", book), columns)
        now = _one(donor, "SELECT last_value FROM fabric.clock")
        target.execute(_TELL_TIME, (now,))
        target.execute(_DECLARE, donor.execute(_DECLARED).fetchone())
    for rel in tables:
        schema, _, name = rel.partition(".")
        advance(target, sql.Identifier(schema, name), node)
    return rows


def _alike(donor: Connection, target: Connection) -> dict[str, list[str]]:
    found = [
        {rel: known for rel, *known in session.execute(_TABLES, (_PROBES,))}
        for session in (donor, target)
    ]
    differing = sorted(rel for rel in found[0] | found[1] if found[0].get(rel) != found[1].get(rel))
    if differing:
        raise NotAlike(
            f"These tables are not the same in both replicas: {', '.join(differing[:5])}"
            f"{' …' if len(differing) > 5 else ''}"
        )
    return {rel: columns for rel, (columns, *_) in found[0].items()}


def _copy(donor: Connection, target: Connection, table: sql.Identifier, columns: list[str]) -> int:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    target.execute(sql.SQL("DELETE FROM {}").format(table))
    reader, writer = donor.cursor(), target.cursor()
    with (
        reader.copy(sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(names, table)) as source,
        writer.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(table, names)) as sink,
    ):
        for block in source:
            sink.write(block)
    return int((writer.statusmessage or "COPY 0").split()[-1])


def advance(target: Connection, table: sql.Identifier, node: int) -> None:
    """What the table's sequences draw next is greater than what its rows have."""
    for sequence, column in sequences.owned_by(target, table):
        highest = sql.SQL("SELECT coalesce(max({}), 0) FROM {}").format(
            sql.Identifier(column), table
        )
        row = target.execute(highest).fetchone()
        sequences.advance(target, sequence, row[0] if row else 0, node)


def _one(session: Connection, query: str, *params: object) -> Any:
    row = session.execute(query.encode(), params).fetchone()
    assert row is not None  # noqa: S101 - of one row, always there
    return row[0]
