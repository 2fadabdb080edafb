"""The statements that merge staged changes into one table. They only build SQL.

`pg_temp.stage` holds one row a changed row: its newest content as the origin has it, the stamp of
its deletion if it was deleted, and the versions that the origin's changes were based on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql

from regions.replication.capture import HIDDEN_COLUMNS

STAGE = """
CREATE TEMP TABLE IF NOT EXISTS stage (
    rel text NOT NULL, pk jsonb NOT NULL, tenant uuid, content jsonb NOT NULL, dead bigint,
    version bigint NOT NULL, based jsonb NOT NULL, PRIMARY KEY (rel, pk)
)"""

# Within one origin a later state contains the earlier ones, so the last of each row is enough;
# of what the changes were based on, the earliest counts.
TAKE = sql.SQL("""
INSERT INTO pg_temp.stage (rel, pk, tenant, content, dead, version, based)
SELECT rel, pk, (array_agg(tenant ORDER BY arrival DESC))[1],
       (array_agg(state ORDER BY arrival DESC))[1],
       max(stamp) FILTER (WHERE op = 'D'),
       (array_agg(version ORDER BY arrival))[1],
       fabric.first_base(based ORDER BY arrival DESC)
  FROM (SELECT c.*, fabric.pick(state, coalesce(r.key, ARRAY['id'])) AS pk,
               CASE op WHEN 'U' THEN (state -> '_base' ->> '')::bigint
                       WHEN 'D' THEN (state ->> '_stamp')::bigint ELSE 0 END AS version,
               CASE op WHEN 'U' THEN (state -> '_base') - '' ELSE '{{}}' END AS based
          FROM fabric.change c LEFT JOIN fabric.relation r USING (rel)
         WHERE {where} AND op <> 'H') AS log
 GROUP BY rel, pk
""")

# A deletion that is known here, from whichever region, keeps its word about older writes.
JOIN_TOMBSTONES = """
UPDATE pg_temp.stage s
   SET dead = greatest(s.dead, g.stamp), content = fabric.merge(s.content, g.state)
  FROM fabric.tombstone g WHERE g.rel = s.rel AND g.pk = s.pk"""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table of this replica: `schema.table`, its key's columns and all columns it stores."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def table(self) -> sql.Identifier:
        schema, _, table = self.name.partition(".")
        return sql.Identifier(schema, table)

    @property
    def visible(self) -> tuple[str, ...]:
        """The columns that writers know of."""
        return tuple(column for column in self.columns if column not in HIDDEN_COLUMNS)

    @property
    def matches(self) -> sql.Composed:
        """Joins the table `t` with the stage `s`: the key's typed values out of the staged JSON,
        so that its index finds the row."""
        row = sql.SQL("(jsonb_populate_record(NULL::{t}, s.content))").format(t=self.table)
        return sql.SQL(" AND ").join(
            sql.SQL("t.{c} = {row}.{c}").format(c=sql.Identifier(column), row=row)
            for column in self.key
        )


def statements_for(relation: Relation, *, deletes: bool) -> Iterator[sql.Composed]:
    """What has to run, in this order, to merge the staged rows of `relation`."""
    names = _names(relation)
    yield _LOCK.format(**names)
    yield _RECORD_DISCARDED.format(**names)
    if deletes:
        yield _JOIN_LOCAL_CONTENT.format(**names)
        yield _RECORD_DELETED.format(**names)
        yield _BURY.format(**names)
        yield _DELETE.format(**names)
    yield _UPSERT.format(**names)


def _names(relation: Relation) -> dict[str, sql.Composable]:
    def listed(prefix: str | None, columns: tuple[str, ...]) -> sql.Composed:
        return sql.SQL(", ").join(
            sql.Identifier(prefix, column) if prefix else sql.Identifier(column)
            for column in columns
        )

    columns = relation.visible + HIDDEN_COLUMNS
    return {
        "rel": sql.Literal(relation.name),
        "table": relation.table,
        "columns": listed(None, columns),
        "record_columns": listed("record", columns),
        "key": listed(None, relation.key),
        "matches": relation.matches,
    }


_LOCK = sql.SQL("""
SELECT FROM {table} t, pg_temp.stage s WHERE s.rel = {rel} AND {matches} FOR UPDATE OF t
""")

_RECORD_DISCARDED = sql.SQL("""
INSERT INTO fabric.conflict
       (rel, pk, field, loser_stamp, loser, winner_stamp, winner, rule, tenant)
SELECT s.rel, s.pk, d.field, d.loser_stamp, d.loser, d.winner_stamp, d.winner,
       'last writer wins', s.tenant
  FROM pg_temp.stage s JOIN {table} t ON {matches}
 CROSS JOIN LATERAL fabric.discarded(to_jsonb(t), s.content, s.based) d
 WHERE s.rel = {rel} AND t._stamp <> s.version
   AND (s.dead IS NULL OR s.dead < (s.content ->> '_stamp')::bigint)
ON CONFLICT DO NOTHING
""")

_JOIN_LOCAL_CONTENT = sql.SQL("""
UPDATE pg_temp.stage s SET content = fabric.merge(s.content, to_jsonb(t))
  FROM {table} t WHERE s.rel = {rel} AND s.dead IS NOT NULL AND {matches}
""")

# A write that the deleting region had not seen is discarded with its row …
_RECORD_DELETED = sql.SQL("""
INSERT INTO fabric.conflict
       (rel, pk, field, loser_stamp, loser, winner_stamp, winner, rule, tenant)
SELECT s.rel, s.pk, '*', t._stamp, to_jsonb(t), s.dead, NULL, 'later delete wins', s.tenant
  FROM pg_temp.stage s JOIN {table} t ON {matches}
 WHERE s.rel = {rel} AND t._stamp <= s.dead AND t._stamp <> s.version
ON CONFLICT DO NOTHING
""")

_BURY = sql.SQL("""
INSERT INTO fabric.tombstone AS g (rel, pk, stamp, tenant, state)
SELECT rel, pk, dead, tenant, content FROM pg_temp.stage
 WHERE rel = {rel} AND dead IS NOT NULL
ON CONFLICT (rel, pk) DO UPDATE
   SET stamp = greatest(g.stamp, EXCLUDED.stamp), state = EXCLUDED.state
""")

_DELETE = sql.SQL("""
DELETE FROM {table} t USING pg_temp.stage s
 WHERE s.rel = {rel} AND s.dead >= (s.content ->> '_stamp')::bigint AND {matches}
""")

# The row is read again under its lock, so a local write that came in between is merged, not lost.
_UPSERT = sql.SQL("""
INSERT INTO {table} AS t ({columns})
SELECT {record_columns}
  FROM pg_temp.stage s, jsonb_populate_record(NULL::{table}, s.content) AS record
 WHERE s.rel = {rel} AND (s.dead IS NULL OR s.dead < (s.content ->> '_stamp')::bigint)
ON CONFLICT ({key}) DO UPDATE SET ({columns}) = (
    SELECT {record_columns}
      FROM jsonb_populate_record(NULL::{table}, fabric.merge(to_jsonb(t), to_jsonb(EXCLUDED)))
           AS record)
 WHERE t._stamp <> EXCLUDED._stamp OR t._fields IS DISTINCT FROM EXCLUDED._fields
""")
