"""A tenant's rows, from one cell's tables into another's, while it is in use and after.

Guarantees that what was copied at first, with the changes since, is what the source has. Whoever
changes a row (a request, the applier, a repair) makes a new version of it, and each version names
its transaction: so a change is known by its version, not by a log that only some changes are in.
Rows are streamed, keep their ids, and are captured by the target's fabric like all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import sql

from tenants.isolation.rewrite import TENANT_COLUMN
from tenants.lifecycle.move_contents import (
    PLAIN_TEXT,
    Connection,
    Content,
    is_shared,
    table_of,
    whose,
)
from tenants.lifecycle.move_side import Side

Key = list[str]

REPORT_EVERY = 1000

_OLDEST = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"

# Versions that a transaction has made which was not over then: none is left out, some that were
# there already are brought over a second time.
_SINCE = sql.SQL("age({version}) <= age({oldest}::xid8::xid)")

# A deletion leaves a tombstone, whichever way it came.
_CHANGED = sql.SQL("""
SELECT ARRAY[{key}] FROM {table} WHERE {whose} AND {changed}
 UNION
SELECT ARRAY[{places}] FROM fabric.tombstone JOIN fabric.relation USING (rel)
 WHERE rel = {rel} AND {theirs} AND {gone}
""")
_DELETE = sql.SQL("""
DELETE FROM {table} USING unnest({lists}) AS _gone({names}) WHERE {whose} AND {matches}
""")


@dataclass(frozen=True, slots=True)
class Copied:
    """`rows`: as many were written or deleted. `oldest`: the first transaction that was not over
    when they were read; what it and later ones do is not in the copy."""

    rows: int
    oldest: str


def copy_rows(
    source: Side, target: Side, contents: list[Content], progress: Callable[[int], None]
) -> Copied:
    """All of them, in one transaction. `progress` is told how many rows have passed."""
    rows = 0
    with _both(source, target) as (reader, writer):
        oldest = _oldest(reader)
        for content in contents:
            for _ in _pipe(reader, writer, source, target, content, sql.SQL("true")):
                rows += 1
                if rows % REPORT_EVERY == 0:
                    progress(rows)
    progress(rows)
    return Copied(rows, oldest)


def copy_changes(source: Side, target: Side, contents: list[Content], since: Copied) -> Copied:
    """What has changed since that copy, in one transaction."""
    rows = 0
    with _both(source, target) as (reader, writer):
        oldest = _oldest(reader)
        # Two rows may have exchanged a unique value: all old versions go before the new ones come.
        for content in reversed(contents):
            changed = _changed(reader, source, content, since)
            _delete(writer, target, content, changed)
            rows += len(changed)
        for content in contents:
            for _ in _pipe(reader, writer, source, target, content, _newer(since)):
                pass
    return Copied(rows, oldest)


@contextmanager
def _both(source: Side, target: Side) -> Iterator[tuple[Connection, Connection]]:
    """One snapshot of the source, one transaction of the target."""
    with source.rows() as reader, target.rows() as writer:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        writer.execute("SET LOCAL fabric.keep_names = 'on'; SET CONSTRAINTS ALL DEFERRED")
        for session in (reader, writer):
            session.execute(PLAIN_TEXT)
        yield reader, writer


def _oldest(reader: Connection) -> str:
    (oldest,) = reader.execute(_OLDEST).fetchall()[0]
    return str(oldest)


def _pipe(
    reader: Connection,
    writer: Connection,
    source: Side,
    target: Side,
    content: Content,
    which: sql.Composable,
) -> Iterator[None]:
    """A step a row."""
    with (
        reader.cursor() as out,
        out.copy(_select(source, target, content, which)) as outgoing,
        writer.cursor().copy(_into(target, content)) as incoming,
    ):
        for block in outgoing:
            incoming.write(block)
            yield


def _select(source: Side, target: Side, content: Content, which: sql.Composable) -> sql.Composed:
    """What goes over the wire: the target's columns in its order."""
    columns: list[sql.Composable] = list(map(sql.Identifier, content.columns))
    if is_shared(target):
        columns.insert(0, sql.SQL("{}::uuid").format(sql.Literal(str(source.tenant.id))))
    return sql.SQL("COPY (SELECT {} FROM {} WHERE {} AND {}) TO STDOUT").format(
        sql.SQL(", ").join(columns), table_of(source, content), whose(source), which
    )


def _into(target: Side, content: Content) -> sql.Composed:
    lead = (TENANT_COLUMN,) if is_shared(target) else ()
    columns = sql.SQL(", ").join(map(sql.Identifier, (*lead, *content.columns)))
    return sql.SQL("COPY {} ({}) FROM STDIN").format(table_of(target, content), columns)


def _newer(since: Copied, version: str = "xmin") -> sql.Composable:
    return _SINCE.format(version=sql.SQL(version), oldest=sql.Literal(since.oldest))


def _changed(reader: Connection, source: Side, content: Content, since: Copied) -> list[Key]:
    """The keys of rows that are new, changed or gone, as texts."""
    rows = reader.execute(
        _CHANGED.format(
            key=sql.SQL(", ").join(
                sql.SQL("{}::text").format(sql.Identifier(column)) for column in content.key
            ),
            places=sql.SQL(", ").join(
                sql.SQL("pk[array_position(key, {})]").format(sql.Literal(column))
                for column in content.key
            ),
            table=table_of(source, content),
            whose=whose(source),
            changed=_newer(since),
            rel=sql.Literal(f"{source.tenant.schema}.{content.name}"),
            theirs=sql.SQL("tombstone.tenant = {}").format(sql.Literal(source.tenant.id))
            if is_shared(source)
            else sql.SQL("true"),
            gone=_newer(since, "tombstone.xmin"),
        )
    ).fetchall()
    return [key for (key,) in rows]


def _delete(writer: Connection, target: Side, content: Content, keys: list[Key]) -> None:
    if not keys:
        return
    names = [f"key_{number}" for number in range(len(content.key))]
    writer.execute(
        _DELETE.format(
            table=table_of(target, content),
            lists=sql.SQL(", ").join([sql.SQL("%s::text[]")] * len(names)),
            names=sql.SQL(", ").join(map(sql.Identifier, names)),
            whose=whose(target),
            matches=sql.SQL(" AND ").join(
                sql.SQL("{} = _gone.{}::{}").format(
                    sql.Identifier(column),
                    sql.Identifier(name),
                    sql.SQL(kind),  # the catalog's own text
                )
                for name, (column, kind) in zip(names, content.key.items(), strict=True)
            ),
        ),
        [list(texts) for texts in zip(*keys, strict=True)],
    )
