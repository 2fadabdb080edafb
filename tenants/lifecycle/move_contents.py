"""What a tenant has in a cell: its replicated tables, without the platform's columns."""

from __future__ import annotations

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

# What a value's text depends on must be the same on both sides.
PLAIN_TEXT = """
SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres';
SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL xmloption = 'content';
SET LOCAL client_encoding = 'UTF8'; SET LOCAL lc_monetary = 'C'; SET LOCAL search_path = pg_catalog
"""

_RELATIONS = """
SELECT split_part(rel, '.', 2), key, columns,
       (SELECT jsonb_object_agg(attname, format_type(atttypid, atttypmod)) FROM pg_attribute
         WHERE attrelid = there AND attname = ANY (key))
  FROM fabric.relation,
       to_regclass(quote_ident(%(schema)s) || '.' || quote_ident(split_part(rel, '.', 2))) there
 WHERE split_part(rel, '.', 1) = %(schema)s AND there IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Content:
    """A replicated table. `key`: the types of the primary key's columns, by name, in its order."""

    name: str
    key: dict[str, str]
    columns: tuple[str, ...]


def read_contents(session: Connection, schema: str) -> list[Content]:
    """The replicated tables, those that are referred to before those that refer."""
    hidden = {*HIDDEN_COLUMNS, TENANT_COLUMN}
    found = {
        name: Content(
            name,
            {column: types[column] for column in key if column not in hidden},
            tuple(sorted(column for column in columns if column not in hidden)),
        )
        for name, key, columns, types in session.execute(_RELATIONS, {"schema": schema}).fetchall()
    }
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
        statement = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(
            table_of(side, content), whose(side)
        )
        row = session.execute(statement).fetchone()
        total += row[0] if row else 0
    return total


def table_of(side: Side, content: Content) -> sql.Identifier:
    return sql.Identifier(side.tenant.schema, content.name)


def whose(side: Side) -> sql.Composable:
    """The condition that leaves the rows of the tenant that moves."""
    if not is_shared(side):
        return sql.SQL("true")
    return sql.SQL("{} = {}").format(
        sql.Identifier(TENANT_COLUMN), sql.Literal(str(side.tenant.id))
    )


def is_shared(side: Side) -> bool:
    """Whether the tables are other tenants' as well."""
    return side.spec.mode.value == "shared"
