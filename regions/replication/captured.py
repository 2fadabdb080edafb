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
    """A table, and how much of it the fabric knows already. `obstacles` keep it from being
    replicated; `sequences` are its own ones that are not interleaved yet; `open_parts` are its
    partitions (each with its schema, if that is another) that take writes which nobody would
    capture; `arguments` are those of the triggers that it has, by name."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    generated: tuple[str, ...]
    obstacles: tuple[str, ...]
    sequences: tuple[str, ...]
    open_parts: tuple[tuple[str | None, str], ...]
    arguments: dict[str, tuple[str, ...]]
    known_key: tuple[str, ...] | None
    known_columns: tuple[str, ...] | None
    known_rules: dict[str, str] | None


# Before a row is updated (tgtype 1 + 2 + 16) triggers fire in the order of their names: what one
# changes after its fields were stamped would have no stamp.
_TABLES = """
SELECT c.relname,
       (SELECT coalesce(array_agg(a.attname::text ORDER BY k.position), '{}')
          FROM pg_index i
         CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, position)
          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
         WHERE i.indrelid = c.oid AND i.indisprimary),
       plain.columns, plain.generated,
       array_remove(ARRAY[
           CASE WHEN NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary)
                THEN 'keyless' END,
           CASE WHEN c.relkind = 'r' AND (
                     EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid)
                     OR EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid)) THEN 'heirs' END,
           CASE WHEN c.relhasrules AND EXISTS (SELECT FROM pg_rewrite WHERE ev_class = c.oid)
                THEN 'ruled' END,
           CASE WHEN EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid
                               AND t.tgtype & 19 = 19 AND t.tgname > 'zz_fabric_stamp_update'
                               AND t.tgname !~ '^zzz_fabric_') THEN 'overtaken' END], NULL),
       (SELECT coalesce(array_agg(s.relname::text ORDER BY s.relname), '{}')
          FROM pg_depend d
          JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
          JOIN pg_sequence q ON q.seqrelid = s.oid AND q.seqincrement <> %(step)s
         WHERE d.refobjid = c.oid AND d.refclassid = 'pg_class'::regclass
           AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')),
       CASE WHEN c.relkind = 'p' THEN (
           SELECT array_agg(ARRAY[nullif(n.nspname, %(schema)s)::text, p.relname::text]
                            ORDER BY tree.level, p.relname)
             FROM pg_partition_tree(c.oid) AS tree
             JOIN pg_class p ON p.oid = tree.relid JOIN pg_namespace n ON n.oid = p.relnamespace
            WHERE tree.level > 0 AND NOT EXISTS (
                  SELECT FROM pg_trigger WHERE tgrelid = p.oid AND tgname = 'fabric_part'
                                           AND tgenabled = 'O')) END,
       (SELECT coalesce(jsonb_object_agg(t.tgname, encode(t.tgargs, 'hex')), '{}')::text
          FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname ~ '^(zzz?_)?fabric_'
                                AND t.tgenabled = 'O'),
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
            obstacles=tuple(obstacles),
            sequences=tuple(sequences),
            open_parts=tuple((where, part) for where, part in parts or ()),
            arguments={
                trigger: arguments_of(text) for trigger, text in json.loads(triggers).items()
            },
            known_key=tuple(known[0]) if known[0] else None,
            known_columns=tuple(known[1]) if known[1] else None,
            known_rules=json.loads(known[2]) if known[2] else None,
        )
        for name, key, columns, generated, obstacles, sequences, parts, triggers, *known in rows
        if name not in without
    ]


def arguments_of(encoded: str) -> tuple[str, ...]:
    """A trigger's arguments, each of which ends with a zero byte in the catalog."""
    return tuple(bytes.fromhex(encoded).decode().split("\0")[:-1])
