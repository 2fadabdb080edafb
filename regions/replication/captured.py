"""Which tables a schema has, and how much of each the fabric knows already: one query."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]

SEQUENCE_STEP = 32  # one slot a node (1..31): two regions never draw the same number


@dataclass(frozen=True, slots=True)
class Captured:
    """A table, and how much of it the fabric knows already. `sequences` are its own ones that
    are not interleaved yet; `arguments` are those of the triggers that it has, by name."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    generated: tuple[str, ...]
    sequences: tuple[str, ...]
    arguments: dict[str, tuple[str, ...]]
    known_key: tuple[str, ...] | None
    known_columns: tuple[str, ...] | None
    known_rules: dict[str, str] | None


_TABLES = """
SELECT c.relname,
       (SELECT coalesce(array_agg(a.attname::text ORDER BY k.position), '{}')
          FROM pg_index i
         CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, position)
          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
         WHERE i.indrelid = c.oid AND i.indisprimary),
       plain.columns, plain.generated,
       (SELECT coalesce(array_agg(s.relname::text ORDER BY s.relname), '{}')
          FROM pg_depend d
          JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
          JOIN pg_sequence q ON q.seqrelid = s.oid AND q.seqincrement <> %(step)s
         WHERE d.refobjid = c.oid AND d.refclassid = 'pg_class'::regclass
           AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')),
       (SELECT coalesce(jsonb_object_agg(t.tgname, encode(t.tgargs, 'hex')), '{}')::text
          FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname ~ '^(zzz?_)?fabric_'),
       r.key, r.columns, r.rules::text
  FROM pg_class c
 CROSS JOIN LATERAL (
       SELECT coalesce(array_agg(a.attname::text) FILTER (WHERE a.attgenerated = ''), '{}'),
              coalesce(array_agg(a.attname::text ORDER BY a.attname)
                       FILTER (WHERE a.attgenerated <> ''), '{}')
         FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
       ) AS plain(columns, generated)
  LEFT JOIN fabric.relation r ON r.rel = %(schema)s || '.' || c.relname
 WHERE c.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND c.relkind IN ('r', 'p')
   AND NOT c.relispartition
 ORDER BY c.relname
"""


def read_captured(
    connection: Connection, schema: str, *, without: Collection[str] = ()
) -> list[Captured]:
    """The schema's tables by name, except `without`."""
    rows = connection.execute(_TABLES, {"schema": schema, "step": SEQUENCE_STEP}).fetchall()
    return [
        Captured(
            name=name,
            key=tuple(key),
            columns=tuple(columns),
            generated=tuple(generated),
            sequences=tuple(sequences),
            arguments={
                trigger: arguments_of(text) for trigger, text in json.loads(triggers).items()
            },
            known_key=tuple(known[0]) if known[0] else None,
            known_columns=tuple(known[1]) if known[1] else None,
            known_rules=json.loads(known[2]) if known[2] else None,
        )
        for name, key, columns, generated, sequences, triggers, *known in rows
        if name not in without
    ]


def arguments_of(encoded: str) -> tuple[str, ...]:
    """A trigger's arguments, each of which ends with a zero byte in the catalog."""
    return tuple(bytes.fromhex(encoded).decode().split("\0")[:-1])
