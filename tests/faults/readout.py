"""What a replica holds after a run, for the checker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from tests.faults.history import Discarded, Entry, Replica, Row

Session = psycopg.Connection[Any]

ENTRIES = "board_entry"
_TABLES = """
SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename LIKE 'board\\_%'
 ORDER BY tablename
"""
# Every column's text by its name: columns need not have come in the same order everywhere.
_ROWS = sql.SQL("""
SELECT to_jsonb(t), (SELECT string_agg(key || '=' || coalesce(value, '(null)'), ' ' ORDER BY key)
                       FROM jsonb_each_text(to_jsonb(t)))
  FROM {} t
""")
# A row of the ledger is a field's value or a whole row; a dead letter is always a whole row.
_LEDGER = """
SELECT split_part(rel, '.', 2), jsonb_typeof(loser), loser, loser_stamp FROM fabric.conflict
"""
_LETTERS = "SELECT split_part(rel, '.', 2), avals(state) FROM fabric.dead_letter"


def replica(session: Session, region: str) -> Replica:
    """Of an administrator's session."""
    tables: dict[str, dict[int, Row]] = {}
    texts: dict[str, dict[int, str]] = {}
    entries: dict[int, Entry] = {}
    for (name,) in session.execute(_TABLES).fetchall():
        found = session.execute(_ROWS.format(sql.Identifier(name))).fetchall()
        texts[name] = {row["id"]: text for row, text in found}
        if name == ENTRIES:
            entries = {row["id"]: _entry(row) for row, _ in found}
        else:
            tables[name] = {row["id"]: row for row, _ in found}
    return Replica(region, tables, entries, texts)


def _entry(row: Row) -> Entry:
    return Entry(tuple(map(str, row["seen"])), row["stamp"])


def discarded(session: Session) -> Iterator[Discarded]:
    """What this region's ledger and dead letters have."""
    for table, kind, loser, stamp in session.execute(_LEDGER).fetchall():
        values = loser.values() if kind == "object" else [loser]
        yield Discarded(table, frozenset({*_names(values), str(stamp)}))
    for table, values in session.execute(_LETTERS).fetchall():
        yield Discarded(table, frozenset(_names(values)))


def _names(values: Sequence[Any]) -> Iterator[str]:
    """A big value begins with the number of the operation that wrote it."""
    return (str(value).partition(":")[0] for value in values if value is not None)
