"""A tenant's rows, from one cell's tables into another's, streamed: ids kept, nothing held in
memory, all of them in one transaction that the target's fabric captures.

What is read is hashed as it passes, so that each replica of the target can be compared with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from psycopg import Connection as PostgresConnection
from psycopg import sql

from regions.replication.capture import HIDDEN_COLUMNS
from tenants.errors import MoveFailed
from tenants.isolation.catalog import read_tables
from tenants.isolation.rewrite import TENANT_COLUMN
from tenants.lifecycle.move_side import Side

Connection = PostgresConnection[Any]
Digests = dict[str, tuple[int, str]]  # by table: rows, sha256 of them in the key's order

# What a value's text depends on must be the same on both sides.
_TEXT = """
SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres';
SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL xmloption = 'content';
SET LOCAL client_encoding = 'UTF8'; SET LOCAL search_path = pg_catalog
"""

_RELATIONS = """
SELECT split_part(rel, '.', 2), key, columns FROM fabric.relation
 WHERE split_part(rel, '.', 1) = %(schema)s
   AND to_regclass(quote_ident(%(schema)s) || '.' || quote_ident(split_part(rel, '.', 2)))
       IS NOT NULL
"""

_ORDERED_AS_THEY_ARE = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND \
atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'uuid'::regtype)"


@dataclass(frozen=True, slots=True)
class Content:
    """A replicated table without the platform's columns. `plain`: key columns that every server
    orders alike."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    plain: frozenset[str]


def read_contents(session: Connection, schema: str) -> list[Content]:
    """The replicated tables, those that are referred to before those that refer."""
    hidden = {*HIDDEN_COLUMNS, TENANT_COLUMN}
    found = {}
    for name, key, columns in session.execute(_RELATIONS, {"schema": schema}).fetchall():
        table = sql.Identifier(schema, name).as_string(session)
        ordered = session.execute(_ORDERED_AS_THEY_ARE, (table,)).fetchall()
        found[name] = Content(
            name,
            tuple(column for column in key if column not in hidden),
            tuple(sorted(column for column in columns if column not in hidden)),
            frozenset(row[0] for row in ordered),
        )
    references = {
        table.name: {key.target for key in table.constraints if key.kind == "f"} - {table.name}
        for table in read_tables(session, schema)
        if table.name in found
    }
    try:
        order = list(TopologicalSorter(references).static_order())
    except CycleError:
        order = sorted(found)  # Django's references are checked at the commit
    return [found[name] for name in order if name in found]


def require_same_shape(source: list[Content], target: list[Content]) -> None:
    """Raises MoveFailed, naming the tables that the two cells don't have alike."""
    one, other = ({table.name: table.columns for table in each} for each in (source, target))
    unlike = sorted(name for name in one | other if one.get(name) != other.get(name))
    if unlike:
        raise MoveFailed(f"the cells' tables differ ({', '.join(unlike)}): migrate them first")


def count_rows(session: Connection, side: Side, contents: list[Content]) -> int:
    """How many rows there are now."""
    total = 0
    for content in contents:
        statement = sql.SQL("SELECT count(*) FROM {}{}").format(_table(side, content), whose(side))
        row = session.execute(statement).fetchone()
        total += row[0] if row else 0
    return total


def copy_rows(
    source: Side, target: Side, contents: list[Content], progress: Callable[[int], None]
) -> Digests:
    """Returns what was read. `progress` is told how many rows have passed."""
    copied: Digests = {}
    done = 0
    with source.rows() as reader, target.rows() as writer:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        writer.execute("SET LOCAL fabric.keep_names = 'on'")
        for session in (reader, writer):
            session.execute(_TEXT)
        for content in contents:
            digest = hashlib.sha256()
            rows = 0
            into = _into(target, content)
            with (
                reader.cursor() as out,
                out.copy(_select(source, target, content)) as outgoing,
                writer.cursor().copy(into) as incoming,
            ):
                for block in outgoing:
                    incoming.write(block)
                    digest.update(block)
                    rows += 1
                    if (done + rows) % 1000 == 0:
                        progress(done + rows)
            done += rows
            copied[content.name] = (rows, digest.hexdigest())
            progress(done)
    return copied


def digest_rows(session: Connection, target: Side, contents: list[Content]) -> Digests:
    """The same of what a replica of the target has."""
    found: Digests = {}
    with session.transaction():
        session.execute(_TEXT)
        for content in contents:
            digest = hashlib.sha256()
            rows = 0
            with session.cursor().copy(_select(target, target, content)) as outgoing:
                for block in outgoing:
                    digest.update(block)
                    rows += 1
            found[content.name] = (rows, digest.hexdigest())
    return found


def _select(side: Side, target: Side, content: Content) -> sql.Composed:
    """What goes over the wire: the target's columns in its order."""
    columns: list[sql.Composable] = list(map(sql.Identifier, content.columns))
    if _shared(target):
        columns.insert(0, sql.SQL("{}::uuid").format(sql.Literal(str(side.tenant.id))))
    order = (
        sql.Identifier(column)
        if column in content.plain
        else sql.SQL('{}::text COLLATE "C"').format(sql.Identifier(column))
        for column in content.key
    )
    return sql.SQL("COPY (SELECT {} FROM {}{} ORDER BY {}) TO STDOUT").format(
        sql.SQL(", ").join(columns), _table(side, content), whose(side), sql.SQL(", ").join(order)
    )


def _into(target: Side, content: Content) -> sql.Composed:
    lead = (TENANT_COLUMN,) if _shared(target) else ()
    columns = sql.SQL(", ").join(map(sql.Identifier, (*lead, *content.columns)))
    return sql.SQL("COPY {} ({}) FROM STDIN").format(_table(target, content), columns)


def _table(side: Side, content: Content) -> sql.Identifier:
    return sql.Identifier(side.tenant.schema, content.name)


def whose(side: Side) -> sql.Composable:
    """Where tenants share tables: the condition that leaves the one that moves."""
    if not _shared(side):
        return sql.SQL("")
    return sql.SQL(" WHERE {} = {}").format(
        sql.Identifier(TENANT_COLUMN), sql.Literal(str(side.tenant.id))
    )


def _shared(side: Side) -> bool:
    return side.spec.mode.value == "shared"
