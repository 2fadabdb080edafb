"""A finished schema as the shortest SQL that makes another like it: what its tables became, and
not how they came to be.

A recording alters the same table dozens of times; here each is made once, with its keys. What
this doesn't know (views, types, counters of their own, …) is left out or doesn't run: whoever
uses it proves that nothing is missing (`likeness`) and otherwise keeps the recording.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql

from regions.replication.captured import SEQUENCE_STEP
from tenants.isolation.catalog import REFERENCE_TABLES, Connection
from tenants.isolation.policies import (
    open_schema,
    restrict_reference_tables,
    restrict_sequences,
)

_OWN = """
WITH own AS (
    SELECT oid, relname, format('%%I.%%I', %(schema)s::text, relname) AS name,
           relrowsecurity, relforcerowsecurity
      FROM pg_class WHERE relnamespace = to_regnamespace(%(schema)s) AND relkind = 'r'
)
"""

_FUNCTIONS = """
SELECT pg_get_functiondef(oid) FROM pg_proc
 WHERE pronamespace = to_regnamespace(%(schema)s) AND prokind IN ('f', 'p') ORDER BY oid
"""

_COLUMNS = """
SELECT own.relname, attname, attgenerated <> '', concat_ws(' ',
       quote_ident(attname), format_type(atttypid, atttypmod),
       CASE WHEN attcollation <> typcollation THEN 'COLLATE ' || attcollation::regcollation END,
       CASE WHEN attnotnull THEN 'NOT NULL' END,
       CASE WHEN attidentity <> '' THEN
            format('GENERATED %%s AS IDENTITY (SEQUENCE NAME %%I.%%I INCREMENT BY %%s)',
                   CASE attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END,
                   %(schema)s::text, s.relname, seqincrement)
            WHEN attgenerated = 's' THEN
            format('GENERATED ALWAYS AS (%%s) STORED', pg_get_expr(adbin, adrelid))
            WHEN attgenerated = 'v' THEN
            format('GENERATED ALWAYS AS (%%s) VIRTUAL', pg_get_expr(adbin, adrelid))
            WHEN atthasdef THEN 'DEFAULT ' || pg_get_expr(adbin, adrelid) END)
  FROM own
  JOIN pg_attribute ON attrelid = own.oid AND attnum > 0 AND NOT attisdropped
  JOIN pg_type t ON t.oid = atttypid
  LEFT JOIN pg_attrdef ON adrelid = own.oid AND adnum = attnum
  LEFT JOIN (pg_depend JOIN pg_class s ON s.oid = objid AND s.relkind = 'S'
                       JOIN pg_sequence ON seqrelid = s.oid)
         ON classid = 'pg_class'::regclass AND deptype = 'i'
        AND refclassid = 'pg_class'::regclass AND refobjid = own.oid AND refobjsubid = attnum
 ORDER BY own.oid, attnum
"""

# Of foreign keys also the table of this schema that they lead to.
_CONSTRAINTS = """
SELECT own.relname, format('CONSTRAINT %%I %%s', conname, pg_get_constraintdef(k.oid)),
       target.relname
  FROM own
  JOIN pg_constraint k ON conrelid = own.oid AND contype IN ('p', 'u', 'c', 'x', 'f')
  LEFT JOIN own target ON target.oid = confrelid
 ORDER BY k.oid
"""

_INDEXES = """
SELECT pg_get_indexdef(indexrelid) FROM own JOIN pg_index ON indrelid = own.oid
 WHERE NOT EXISTS (SELECT FROM pg_constraint
                    WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))
 ORDER BY indexrelid
"""

_COMMENTS = """
SELECT CASE objsubid WHEN 0 THEN format('COMMENT ON TABLE %%s IS %%L', name, description)
       ELSE format('COMMENT ON COLUMN %%s.%%I IS %%L', name, attname, description) END
  FROM own
  JOIN pg_description ON classoid = 'pg_class'::regclass AND objoid = own.oid
  LEFT JOIN pg_attribute ON attrelid = own.oid AND attnum = objsubid
 ORDER BY own.oid, objsubid
"""

_TRIGGERS = """
SELECT pg_get_triggerdef(t.oid) FROM own JOIN pg_trigger t ON tgrelid = own.oid
 WHERE NOT tgisinternal ORDER BY own.oid, t.oid
"""

_SECURITY = """
SELECT format('ALTER TABLE %%s %%s ROW LEVEL SECURITY, %%s ROW LEVEL SECURITY', name,
              CASE WHEN relrowsecurity THEN 'ENABLE' ELSE 'DISABLE' END,
              CASE WHEN relforcerowsecurity THEN 'FORCE' ELSE 'NO FORCE' END)
  FROM own WHERE relrowsecurity OR relforcerowsecurity
UNION ALL
SELECT concat_ws(' ', format('CREATE POLICY %%I ON %%s AS %%s FOR %%s TO %%s', policyname, name,
                             permissive, cmd, array_to_string(roles, ', ')),
                 'USING (' || qual || ')', 'WITH CHECK (' || with_check || ')')
  FROM own JOIN pg_policies ON schemaname = %(schema)s AND tablename = own.relname
"""

_COUNTERS = """
SELECT s.relname, seqincrement FROM pg_sequence JOIN pg_class s ON s.oid = seqrelid
 WHERE s.relnamespace = to_regnamespace(%(schema)s) ORDER BY s.oid
"""
# Those that are interleaved start at each replica's own node.
_DRAWN = """
SELECT pg_catalog.setval(name::regclass, drawn + CASE WHEN interleaved THEN node ELSE 0 END, called)
  FROM fabric.member, (VALUES {counters}) AS counter(name, drawn, interleaved, called)
"""

_RELATIONS = """
SELECT string_agg(format('(%%L, %%L, %%L, %%L)', rel, key, columns, rules), E',\\n' ORDER BY rel)
  FROM fabric.relation WHERE split_part(rel, '.', 1) = %(schema)s
"""
_RELATION = """
INSERT INTO fabric.relation (rel, key, columns, rules) VALUES
{rows}
    ON CONFLICT (rel) DO UPDATE
    SET key = EXCLUDED.key, columns = EXCLUDED.columns, rules = EXCLUDED.rules
"""


@dataclass(slots=True)
class _Table:
    """`definitions` are its columns and constraints, `stored` the columns that can be written;
    `foreign` are its keys to tables of the schema: definition and table."""

    name: str
    definitions: list[str] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    foreign: list[tuple[str, str]] = field(default_factory=list)


def distil(administrator: Connection, schema: str) -> str:
    """The statements. Nothing is changed; `administrator` sees the rows of every table."""
    with administrator.transaction():
        # Every name that isn't PostgreSQL's own is written with its schema then.
        administrator.execute("SELECT set_config('search_path', '', true)")
        return ";\n".join(_Distillery(administrator, schema).statements())


@dataclass(frozen=True, slots=True)
class _Distillery:
    connection: Connection
    schema: str

    def statements(self) -> Iterator[str]:
        yield f"CREATE SCHEMA IF NOT EXISTS {sql.Identifier(self.schema).as_string()}"
        yield from open_schema(self.schema)
        for (definition,) in self._read(_FUNCTIONS):
            yield definition.rstrip().rstrip(";")
        tables = self._tables()
        yield from self._made(tables)
        for query in (_INDEXES, _COMMENTS, _TRIGGERS, _SECURITY):
            yield from (statement for (statement,) in self._read(query))
        yield from restrict_reference_tables(
            self.schema, REFERENCE_TABLES & {table.name for table in tables}
        )
        yield from self._counters()
        ((relations,),) = self._read(_RELATIONS)
        if relations:
            yield _RELATION.format(rows=relations).strip()

    def _read(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(
            f"{_OWN}{query}".encode(), {"schema": self.schema}
        ).fetchall()

    def _tables(self) -> list[_Table]:
        tables: dict[str, _Table] = {}
        for name, column, generated, definition in self._read(_COLUMNS):
            table = tables.setdefault(name, _Table(name))
            table.definitions.append(definition)
            if not generated:
                table.stored.append(column)
        for name, definition, target in self._read(_CONSTRAINTS):
            if target is None:
                tables[name].definitions.append(definition)
            else:
                tables[name].foreign.append((definition, target))
        return list(tables.values())

    def _made(self, tables: list[_Table]) -> Iterator[str]:
        """Each table with the keys to those that are there already, then the rows, then the rest:
        a key that comes with its table needs no look at the rows."""
        made: set[str] = set()
        late: list[str] = []
        waiting = list(tables)
        while waiting:
            free = [t for t in waiting if {target for _, target in t.foreign} <= {t.name, *made}]
            table = (free or waiting)[0]
            waiting.remove(table)
            made.add(table.name)
            name = self._name(table.name)
            now = [definition for definition, target in table.foreign if target in made]
            then = [definition for definition, target in table.foreign if target not in made]
            definitions = ",\n".join([*table.definitions, *now])
            yield f"CREATE TABLE {name} (\n{definitions})"
            if then:
                late.append(f"ALTER TABLE {name} {', '.join(f'ADD {each}' for each in then)}")
        rows = [statement for table in tables if (statement := self._rows(table))]
        yield from rows
        if rows:
            # A table with pending checks can't be altered.
            yield "SET CONSTRAINTS ALL IMMEDIATE"
            yield "SET CONSTRAINTS ALL DEFERRED"
        yield from late

    def _rows(self, table: _Table) -> str:
        """Whatever the type, its text is read back as it was written."""
        if not table.stored:
            return ""
        name = sql.SQL(self._name(table.name))
        columns = sql.SQL(", ").join(map(sql.Identifier, table.stored))
        row = sql.Literal(f"({', '.join(['%L'] * len(table.stored))})")
        found = self.connection.execute(
            sql.SQL("SELECT string_agg(format({}, {}), E',\\n' ORDER BY ctid) FROM {}").format(
                row, columns, name
            )
        ).fetchone()
        if not found or found[0] is None:
            return ""
        into = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES").format(name, columns)
        return f"{into.as_string()}\n{found[0]}"

    def _counters(self) -> Iterator[str]:
        steps = {name: int(step) for name, step in self._read(_COUNTERS)}
        yield from restrict_sequences(self.schema, steps)
        values = []
        for name, step in steps.items():
            value, called, node = self.connection.execute(
                sql.SQL("SELECT last_value, is_called, node FROM {}, fabric.member").format(
                    sql.Identifier(self.schema, name)
                )
            ).fetchone() or (0, False, 0)
            interleaved = step == SEQUENCE_STEP
            text = sql.Literal(self._name(name)).as_string()
            drawn = value - node if interleaved else value
            values.append(f"({text}, {drawn}, {interleaved}, {called})")
        if values:
            yield _DRAWN.format(counters=",\n".join(values)).strip()

    def _name(self, name: str) -> str:
        return sql.Identifier(self.schema, name).as_string()
