"""How far the schemas of one replica are, and what somebody did to them by hand.

Guarantees a number of queries that doesn't grow with the number of tenants (one for each
SCHEMAS_A_QUERY of them), and that what is recorded elsewhere is never believed: it reads the
schemas themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.conf import settings

from regions.replication import rules
from tenants.isolation.catalog import REFERENCE_TABLES
from tenants.isolation.owner import Connection
from tenants.isolation.policies import POLICY
from tenants.isolation.rewrite import quote
from tenants.rollout.graph import Progress
from tenants.rollout.marks import without_tenants

# The time to plan a union grows with the square of its length: 1,000 take seconds at once.
SCHEMAS_A_QUERY = 20

_PRESENT = """
SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relname = 'django_migrations' AND c.relkind = 'r' AND n.nspname = ANY(%s)
"""

_APPLIED = "SELECT {number}, string_agg(app || '.' || name, ' ') FROM {schema}.django_migrations"

# Tables without isolation, quota or capture, and columns or merge rules that capture doesn't know.
# What belongs to a table is looked up for each (`count(*)`, where `EXISTS` would be a join): read
# through, the catalog has twenty times as much.
_UNLIKE = """
WITH own AS MATERIALIZED (
    SELECT c.oid, n.nspname, c.relname, c.relrowsecurity AND c.relforcerowsecurity AS forced
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = ANY(%(schemas)s) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
       AND c.relname <> ALL(%(reference)s)
)
SELECT own.nspname, array_agg(own.relname::text ORDER BY own.relname)
  FROM own
 CROSS JOIN LATERAL (
    SELECT count(*) AS number, sum(hashname(attname)) AS digest FROM pg_attribute
     WHERE attrelid = own.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
  ) AS columns
  LEFT JOIN fabric.relation AS captured ON captured.rel = own.nspname || '.' || own.relname
 CROSS JOIN LATERAL (
    SELECT count(*) AS number, sum(hashname(each::name)) AS digest
      FROM unnest(captured.columns) AS each
  ) AS known
 WHERE NOT own.forced
    OR (SELECT count(*) FROM pg_policy p
         WHERE p.polrelid = own.oid AND p.polname = %(policy)s) = 0
    OR (SELECT count(*) FROM pg_trigger t
         WHERE t.tgrelid = own.oid AND t.tgname = 'tenancy_quota_insert') = 0
    OR own.relname <> ALL(%(local)s) AND (
       (known.number, known.digest) IS DISTINCT FROM (columns.number, columns.digest)
       OR captured.rules <> (SELECT coalesce(jsonb_object_agg(key, value), '{}')
                               FROM jsonb_each(%(rules)s::jsonb -> own.relname::text)
                              WHERE key = '*' OR key = ANY(captured.columns)))
 GROUP BY 1
"""

# Two schemas with the same digest take the same SQL, and lack the same. Defaults don't count: they
# never change what a statement does. Order of columns doesn't either. Each fact is a hash of a
# hash: what is added up are numbers, for a text of each costs more than all that is read.
_DIGESTS = """
WITH own AS MATERIALIZED (
    SELECT c.oid, n.oid AS home, c.relkind, hashnameextended(c.relname, 0) AS seed,
           c.relrowsecurity::int + 2 * c.relforcerowsecurity::int AS security
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = ANY(%(schemas)s) AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
), facts(home, fact) AS (
    {facts}
)
SELECT nspname, digest
  FROM (SELECT home, sum(fact)::text || ' ' || count(*) AS digest FROM facts GROUP BY 1) AS sums
  JOIN pg_namespace n ON n.oid = home
"""

_OF_TABLES = """
    SELECT home, hashcharextended(relkind, hashint4extended(security, seed)) FROM own
    UNION ALL
    SELECT home, hashnameextended(i.relname, hashint4extended(
                     indisunique::int + 2 * indisvalid::int + 4 * indnatts, seed))
      FROM own JOIN pg_index ON indrelid = own.oid JOIN pg_class i ON i.oid = indexrelid
    UNION ALL
    SELECT home, hashnameextended(polname, hashcharextended('p', seed))
      FROM own JOIN pg_policy ON polrelid = own.oid
    UNION ALL
    SELECT home, jsonb_hash_extended(rules, hash_array_extended(columns, seed))
      FROM fabric.relation
      JOIN pg_namespace n ON nspname = split_part(rel, '.', 1)
      JOIN own ON home = n.oid AND seed = hashnameextended(split_part(rel, '.', 2)::name, 0)
"""

_OF_COLUMNS = """
    SELECT home, hashnameextended(attname, hashoidextended(atttypid,
                 hashint4extended(atttypmod, hashcharextended(attidentity,
                 hashcharextended(attgenerated, hashint4extended(attnotnull::int, seed))))))
      FROM own JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND NOT attisdropped
     WHERE relkind <> 'S'
    UNION ALL
    SELECT own.home, hashnameextended(conname, hashcharextended(contype,
                     hashcharextended(confdeltype, hashint4extended(
                         condeferrable::int + 2 * condeferred::int + 4 * convalidated::int
                         + 8 * coalesce(cardinality(conkey), 0),
                         hashint8extended(CASE WHEN confrelid <> 0 THEN coalesce(other.seed, (
                             SELECT hashnameextended(relname, 0) FROM pg_class
                              WHERE pg_class.oid = confrelid)) ELSE 0 END, own.seed)))))
      FROM own JOIN pg_constraint ON conrelid = own.oid
      LEFT JOIN own AS other ON other.oid = confrelid
     WHERE contype <> 'n'
    UNION ALL
    SELECT home, hashnameextended(tgname, hashcharextended('t', seed))
      FROM own JOIN pg_trigger ON tgrelid = own.oid AND NOT tgisinternal
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """One schema in one replica. `unlike` are the tables that isolation or capture lacks."""

    progress: Progress
    unlike: tuple[str, ...]


def read_progress(connection: Connection, schemas: Collection[str]) -> dict[str, Progress]:
    """Of those of `schemas` that have tables."""
    present = sorted(row[0] for row in connection.execute(_PRESENT, (sorted(schemas),)))
    found = {}
    # Most schemas say the same: each saying is taken apart once.
    known: dict[str, Progress] = {}
    for chunk in _chunks(present):
        for number, said in connection.execute(_union(chunk)):
            if said not in known:
                known[said] = without_tenants(map(_split, (said or "").split()))
            found[chunk[number]] = known[said]
    return found


def read_unlike(connection: Connection, digests: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Tables that lack something, of those of the schemas (with their digests) that have such: it
    is looked for in one schema of each digest."""
    ones = {digest: schema for schema, digest in sorted(digests.items(), reverse=True)}
    lacking = dict(
        connection.execute(
            _UNLIKE,
            {
                "schemas": sorted(ones.values()),
                "reference": sorted(REFERENCE_TABLES),
                "local": sorted(settings.MERIDIAN_LOCAL_TABLES),
                "policy": POLICY,
                "rules": rules.as_json(),
            },
        ).fetchall()
    )
    return {
        schema: tuple(lacking[ones[digest]])
        for schema, digest in digests.items()
        if ones[digest] in lacking
    }


def read_digests(connection: Connection, schemas: Collection[str]) -> dict[str, str]:
    """Of tables with what guards and captures them; equal for schemas where that is the same."""
    return _digests(connection, schemas, _OF_TABLES)


def read_column_digests(connection: Connection, schemas: Collection[str]) -> dict[str, str]:
    """The same of columns, constraints and triggers: as much again."""
    return _digests(connection, schemas, _OF_COLUMNS)


def _digests(connection: Connection, schemas: Collection[str], facts: str) -> dict[str, str]:
    query = _DIGESTS.format(facts=facts).encode()
    return dict(connection.execute(query, {"schemas": sorted(schemas)}).fetchall())


def _union(schemas: Sequence[str]) -> bytes:
    return " UNION ALL ".join(
        _APPLIED.format(number=number, schema=quote(schema))
        for number, schema in enumerate(schemas)
    ).encode()


def _split(said: str) -> tuple[str, str]:
    app, _, name = said.partition(".")
    return app, name


def _chunks(schemas: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(schemas), SCHEMAS_A_QUERY):
        yield schemas[start : start + SCHEMAS_A_QUERY]
