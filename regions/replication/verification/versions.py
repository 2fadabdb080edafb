"""Reads a row's versions where they are, and joins them by the merge itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from regions.replication.merging import merge_into
from regions.replication.session import Session
from regions.replication.shapes import Shape
from regions.replication.verification.asking import everywhere
from regions.replication.verification.cut import Key
from regions.replication.verification.judging import State, Version
from regions.replication.verification.tables import Table

_READ = sql.SQL("""
SELECT k.pk, (SELECT hstore_to_jsonb(hstore(_fabric_row)) FROM {table} _fabric_row WHERE {matches}),
       g.stamp, hstore_to_jsonb(g.state),
       (SELECT min(d.reason) FROM fabric.dead_letter d WHERE d.rel = {rel} AND d.pk = k.pk)
  FROM (SELECT {texts} AS pk, {typed} FROM ROWS FROM ({lists}) AS k({names})) k
  LEFT JOIN fabric.tombstone g ON g.rel = {rel} AND g.pk = k.pk
""")


async def read_versions(
    sessions: Mapping[str, Session], table: Table, keys: Collection[Key]
) -> dict[Key, dict[str, Version]]:
    """Each key's versions by region."""
    statement = _reading(table)
    columns = [list(texts) for texts in zip(*keys, strict=True)]

    async def read(columns: list[list[str]], session: Session) -> dict[Key, Version]:
        rows = await session.fetch(statement, columns)
        return {tuple(pk): Version(*rest) for pk, *rest in rows}

    found = await everywhere(sessions, partial(read, columns))
    return {key: {region: of[key] for region, of in found.items()} for key in keys}


def _reading(table: Table) -> sql.Composed:
    names = [f"key_{number}" for number in range(len(table.relation.key))]
    listed = sql.SQL(", ").join
    return _READ.format(
        table=table.relation.table,
        rel=sql.Literal(table.name),
        matches=sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier("_fabric_row", column), sql.Identifier("k", n))
            for column, n in zip(table.relation.key, names, strict=True)
        ),
        texts=sql.SQL("ARRAY[{}]").format(listed(sql.Identifier("k", n) for n in names)),
        typed=listed(
            sql.SQL("{}::{} AS {}").format(
                sql.Identifier("k", n),
                sql.SQL(kind),  # the catalog's own text
                sql.Identifier(n),
            )
            for n, kind in zip(names, table.key_types, strict=True)
        ),
        lists=listed(
            sql.SQL("unnest({}::text[])").format(sql.SQL("$" + str(number)))
            for number in range(1, len(names) + 1)
        ),
        names=listed(map(sql.Identifier, names)),
    )


def as_record(into: sql.Composable, parameter: str = "$1") -> sql.Composed:
    """A row of type `into` from an object of texts."""
    return sql.SQL(
        "populate_record(NULL::{into}, (SELECT hstore(array_agg(key), array_agg(value))"
        " FROM jsonb_each_text({parameter})))"
    ).format(into=into, parameter=sql.SQL(parameter))


async def join(session: Session, table: Table, states: Sequence[State]) -> State:
    """What the merge makes of these versions of one row, in whichever order."""
    every = tuple(table.relation.plain)
    shape = Shape(table.relation, table.columns)
    statements = await session.statements(shape)
    source = sql.SQL("{} AS l").format(as_record(shape.scratch))
    merge = merge_into(shape, shape.scratch, every, "l", source)
    async with session.connection.transaction():
        for state in states:
            await session.execute(merge, (Jsonb(dict(state)),))
        rows: list[tuple[Any, ...]] = await session.fetch(
            sql.SQL(
                "DELETE FROM {} _fabric_row RETURNING hstore_to_jsonb(hstore(_fabric_row))"
            ).format(shape.scratch)
        )
    await session.leave(statements)
    joined: State = rows[0][0]
    return joined
