"""Do replicas have the same structure, and the schemas of a cell's tenants?

A digest of everything that shapes a schema's tables, without the names that differ on purpose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg

from tenants.doctor.findings import Finding, Severity

Connection = psycopg.Connection[Any]
NAME = "drift"

# Name and shape of each thing, by schema.
_SHAPE = """
WITH relations AS (
    SELECT c.oid, c.relname, c.relkind, n.oid AS schema, n.nspname
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY (%s)
)
SELECT nspname::text, 'column ' || relname || '.' || attname,
       concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,
                 pg_get_expr(d.adbin, d.adrelid))
  FROM relations JOIN pg_attribute a ON a.attrelid = relations.oid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
 UNION ALL
SELECT nspname, 'constraint ' || relname || '.' || conname, pg_get_constraintdef(k.oid)
  FROM relations JOIN pg_constraint k ON k.conrelid = relations.oid WHERE contype <> 'n'
 UNION ALL
SELECT nspname, 'index ' || i.relname, pg_get_indexdef(x.indexrelid)
  FROM relations r JOIN pg_index x ON x.indrelid = r.oid JOIN pg_class i ON i.oid = x.indexrelid
 WHERE r.relkind IN ('r', 'p')
 UNION ALL
SELECT nspname, 'trigger ' || relname || '.' || tgname, concat_ws(' ', tgtype, tgenabled)
  FROM relations JOIN pg_trigger t ON t.tgrelid = relations.oid WHERE NOT tgisinternal
 UNION ALL
SELECT nspname, 'security of ' || c.relname, concat_ws(' ', c.relrowsecurity, c.relforcerowsecurity)
  FROM relations JOIN pg_class c USING (oid) WHERE c.relkind IN ('r', 'p')
"""

Shape = Mapping[str, str]


def read(administrator: Connection, schemas: list[str]) -> dict[str, Shape]:
    """Each schema's parts and what they are; a schema that is not there has none."""
    found: dict[str, dict[str, str]] = {schema: {} for schema in schemas}
    for schema, part, shape in administrator.execute(_SHAPE, (schemas,)):
        plain = (shape or "").replace(f'"{schema}".', "").replace(f"{schema}.", "")
        found[schema][part] = plain
    return dict(found)


def compare(shapes: Mapping[str, Shape], where: str) -> Iterator[Finding]:
    """`shapes` by what has them (a schema, a region). What most of them have is taken for right;
    between two, the first."""
    if len(shapes) < 2:
        return
    kinds = Counter(frozenset(shape.items()) for shape in shapes.values())
    usual = dict(kinds.most_common(1)[0][0])
    for name, shape in shapes.items():
        different = sorted(
            part for part in usual.keys() | shape.keys() if usual.get(part) != shape.get(part)
        )
        if different:
            shown = ", ".join(different[:3]) + (" …" if len(different) > 3 else "")
            yield Finding(
                NAME,
                Severity.WARNING,
                f"{name} differs from the others in {len(different)} parts: {shown}.",
                f"Run `manage.py cell migrate {where}`; what stays different was changed by hand.",
                where,
            )
