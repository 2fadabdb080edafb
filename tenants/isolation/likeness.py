"""Whether two schemas of a database are the same but for their names: everything that a tenant's
tables, and what guards them, consist of, as PostgreSQL's catalog and the tables themselves say.

Guarantees that a kind of object that isn't known here makes a difference too: by its number.
"""

from __future__ import annotations

from uuid import UUID

from psycopg import sql

from tenants.isolation.catalog import Connection

# One line a fact. Order of columns counts, gaps that dropped columns left do not.
_FACTS = """
WITH own AS (
    SELECT * FROM pg_class WHERE relnamespace = to_regnamespace(%(schema)s)
), related AS (
    SELECT * FROM own WHERE relkind IN ('r', 'p')
)
SELECT concat_ws(' ', 'relation', relname, relkind, relpersistence, relispartition, relrowsecurity,
                 relforcerowsecurity, relreplident, reloptions, relam, relowner,
                 pg_get_expr(relpartbound, oid),
                 (SELECT array_agg(inhparent::regclass::text) FROM pg_inherits
                   WHERE inhrelid = own.oid),
                 pg_catalog.obj_description(oid, 'pg_class'),
                 (SELECT array_agg(acl::text ORDER BY acl::text) FROM unnest(relacl) AS acl))
  FROM own
UNION ALL
SELECT concat_ws(' ', 'column', relname, attname,
                 row_number() OVER (PARTITION BY attrelid ORDER BY attnum),
                 format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,
                 attcollation, attstorage, attcompression, attstattarget, attoptions, attacl,
                 pg_get_expr(adbin, adrelid), col_description(attrelid, attnum))
  FROM related
  JOIN pg_attribute ON attrelid = related.oid AND attnum > 0 AND NOT attisdropped
  LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL
SELECT concat_ws(' ', 'constraint', relname, conname, pg_get_constraintdef(k.oid), convalidated,
                 pg_catalog.obj_description(k.oid, 'pg_constraint'))
  FROM related JOIN pg_constraint k ON conrelid = related.oid AND contype <> 'n'
UNION ALL
SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid), indisvalid, indisclustered,
                 indisreplident, pg_catalog.obj_description(indexrelid, 'pg_class'))
  FROM related JOIN pg_index ON indrelid = related.oid
UNION ALL
SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid), tgenabled)
  FROM own JOIN pg_trigger t ON tgrelid = own.oid AND NOT tgisinternal
UNION ALL
SELECT concat_ws(' ', 'policy', relname, polname, polpermissive, polcmd, polroles,
                 pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
  FROM related JOIN pg_policy ON polrelid = related.oid
UNION ALL
SELECT concat_ws(' ', 'rule', pg_get_ruledef(r.oid))
  FROM own JOIN pg_rewrite r ON ev_class = own.oid
UNION ALL
SELECT concat_ws(' ', 'function', CASE WHEN prokind IN ('f', 'p') THEN pg_get_functiondef(oid)
                                       ELSE proname END, proowner, proacl)
  FROM pg_proc WHERE pronamespace = to_regnamespace(%(schema)s)
UNION ALL
SELECT concat_ws(' ', 'sequence', relname, format_type(seqtypid, NULL), seqstart, seqincrement,
                 seqmin, seqmax, seqcache, seqcycle,
                 (SELECT deptype::text || refobjid::regclass::text || refobjsubid FROM pg_depend
                   WHERE classid = 'pg_class'::regclass AND objid = own.oid
                     AND refclassid = 'pg_class'::regclass))
  FROM own JOIN pg_sequence ON seqrelid = own.oid
UNION ALL
SELECT concat_ws(' ', 'schema', nspowner,
                 (SELECT array_agg(acl::text ORDER BY acl::text) FROM unnest(nspacl) AS acl))
  FROM pg_namespace WHERE nspname = %(schema)s
UNION ALL
SELECT concat_ws(' ', 'captured', rel, key, columns, rules)
  FROM fabric.relation WHERE split_part(rel, '.', 1) = %(schema)s
UNION ALL
SELECT concat_ws(' ', 'number', classid::regclass, count(*)) FROM pg_depend
 WHERE refclassid = 'pg_namespace'::regclass AND refobjid = to_regnamespace(%(schema)s)
 GROUP BY classid
"""
_CONTAINERS = """
SELECT relname, relkind FROM pg_class
 WHERE relnamespace = to_regnamespace(%(schema)s) AND relkind IN ('r', 'S') ORDER BY relname
"""
# The names are gone before they are hidden in a digest.
_ROWS = """
SELECT md5(replace(replace(string_agg(line, ',' ORDER BY line), {schema}, 'SCHEMA'),
                   {tenant}, 'TENANT'))
  FROM (SELECT t::text AS line FROM {name} t)
"""
_DRAWN = "SELECT concat_ws(' ', last_value, is_called) FROM {name}"


def facts(administrator: Connection, schema: str, tenant: UUID) -> list[str]:
    """What the schema consists of, without its name and without its tenant's id. In a
    transaction of the caller, whose search path is changed."""
    administrator.execute("SELECT set_config('search_path', '', true)")
    bind = {"schema": schema}
    found = [text for (text,) in administrator.execute(_FACTS, bind)]
    for name, kind in administrator.execute(_CONTAINERS, bind).fetchall():
        query = sql.SQL(_ROWS if kind == "r" else _DRAWN).format(
            name=sql.Identifier(schema, name),
            schema=sql.Literal(schema),
            tenant=sql.Literal(str(tenant)),
        )
        row = administrator.execute(query).fetchone()
        found.append(f"content {name} {row[0] if row else ''}")
    return sorted(text.replace(schema, "SCHEMA").replace(str(tenant), "TENANT") for text in found)
