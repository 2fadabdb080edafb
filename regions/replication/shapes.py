"""How one replica writes a table's rows into the log, and how this replica reads them.

Rows travel as the texts of their records, with the writer's columns in the writer's order. Replicas
may be at different versions, as in the middle of a migration: a field that has no column here is
refused, so that its change is parked and tried again once the column is there; a field that the
writer lacks keeps the value that the row has here, or gets the column's default.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg
from psycopg import sql

from regions.replication.capture import HIDDEN_COLUMNS
from regions.replication.rules import ROWS


@dataclass(frozen=True)
class Column:
    """A column of this replica's table; `default` is its expression, as the catalog has it."""

    name: str
    type: str
    generated: bool
    default: str | None


@dataclass(frozen=True)
class Relation:
    """A table of this replica: `schema.table`, its key's columns and all its columns."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    rules: tuple[tuple[str, str], ...] = ()

    @property
    def elements(self) -> bool:
        """Whether its rows are a set's elements: a deletion removes only what it has seen."""
        return dict(self.rules).get(ROWS, "").startswith("set:")

    @property
    def table(self) -> sql.Identifier:
        schema, _, table = self.name.partition(".")
        return sql.Identifier(schema, table)

    @cached_property
    def plain(self) -> dict[str, Column]:
        """The columns that a writer sets, the platform's included."""
        return {column.name: column for column in self.columns if not column.generated}


# The columns of whoever wrote an entry c, as a text. An earlier version's entries have an array.
NAMES = sql.SQL("coalesce(c.names, c.columns::text)")

# As one value: Column's fields in its order. A relation is named r.
_COLUMNS = sql.SQL("""
SELECT jsonb_agg(jsonb_build_array(attname, format_type(atttypid, atttypmod), attgenerated <> '',
                                   CASE attgenerated WHEN '' THEN pg_get_expr(adbin, adrelid) END)
                 ORDER BY attnum)
  FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
 WHERE attnum > 0 AND NOT attisdropped AND attrelid = to_regclass(
       quote_ident(split_part(r.rel, '.', 1)) || '.'
       || quote_ident(substr(r.rel, strpos(r.rel, '.') + 1)))
""")


# What is known here of the relation r: the arguments of `relation_of` after the name.
KNOWN = sql.SQL("r.key, ({}), r.rules").format(_COLUMNS)


def relation_of(
    name: str,
    key: list[str] | None,
    columns: list[list[Any]] | None,
    rules: dict[str, str] | None,
) -> Relation:
    """Raises UndefinedTable where this replica has no such table under the fabric."""
    if key is None or columns is None:
        raise psycopg.errors.UndefinedTable(f"{name} does not exist in this replica")
    return Relation(
        name,
        tuple(key),
        tuple(Column(*column) for column in columns),
        tuple(sorted((rules or {}).items())),
    )


@dataclass(frozen=True)
class Shape:
    """A relation here, and the columns of its writer. Raises UndefinedColumn for a stranger."""

    relation: Relation
    written: tuple[str, ...]

    def __post_init__(self) -> None:
        known = {column.name for column in self.relation.columns}
        if strangers := [name for name in self.written if name not in known]:
            raise psycopg.errors.UndefinedColumn(
                f"{self.relation.name} has no column {strangers[0]} in this replica yet"
            )

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @property
    def row(self) -> sql.Identifier:
        """The type that an entry's rows are read as."""
        return sql.Identifier("pg_temp", f"row_{self.digest}")

    @property
    def stage(self) -> sql.Identifier:
        """The newest version of each changed row, with what is known about its writing."""
        return sql.Identifier("pg_temp", f"stage_{self.digest}")

    @property
    def scratch(self) -> sql.Identifier:
        """Where versions of rows are merged that are not in the table."""
        return sql.Identifier("pg_temp", f"scratch_{self.digest}")

    @cached_property
    def stored(self) -> tuple[str, ...]:
        """The columns that both have and that are written."""
        plain = self.relation.plain
        return tuple(name for name in self.written if name in plain)

    @cached_property
    def visible(self) -> tuple[str, ...]:
        """Those of them that are fields, not the platform's."""
        return tuple(name for name in self.stored if name not in HIDDEN_COLUMNS)

    @cached_property
    def lacking(self) -> tuple[Column, ...]:
        """Our columns that the writer does not have yet."""
        plain = self.relation.plain.values()
        return tuple(column for column in plain if column.name not in self.written)

    @property
    def fleeting(self) -> bool:
        """Whether it needs a type that somebody made: what a session keeps must not keep them
        from dropping it."""
        return any("." in column.type for column in self.relation.plain.values())

    def definitions(self) -> list[sql.Composed]:
        """What a session needs before it can stage such rows."""
        plain = self.relation.plain

        def typed(names: Iterable[str]) -> sql.Composed:
            # A type's name is the catalog's own text. What is generated here is not read.
            return sql.SQL(", ").join(
                sql.SQL("{} {}").format(
                    sql.Identifier(name), sql.SQL(plain[name].type if name in plain else "text")
                )
                for name in names
            )

        key = sql.SQL(", ").join(map(sql.Identifier, self.relation.key))
        return [
            sql.SQL("CREATE TYPE {} AS ({})").format(self.row, typed(self.written)),
            sql.SQL(
                "CREATE TEMP TABLE {} ({}, _fabric_based jsonb,"
                " _fabric_dead bigint, _fabric_tenant uuid)"
            ).format(self.stage, typed(self.stored)),
            sql.SQL("CREATE TEMP TABLE {} ({}, PRIMARY KEY ({}))").format(
                self.scratch, typed(plain), key
            ),
        ]
