"""The statements that merge staged rows into one table. They only build SQL.

The stage holds one row a changed row: its newest content as the origin has it, the stamp of its
deletion if it was deleted (`_fabric_dead`), and the stamps that the origin's first changes saw in
the fields that they changed (`_fabric_based`; null: it wrote all of them).

Parameters of what reads a run of the log: $1 origin, $2 after arrival, $3 up to arrival, $4 table,
$5 the text of the writer's columns; of one row, also $6 the entry's number and $7 its place in it.
"""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

from regions.replication.capture import HIDDEN_COLUMNS
from regions.replication.merging import joined_up, listed, merge_into, texts
from regions.replication.shapes import NAMES, Shape

Statement = sql.Composed

_RUN = """
  FROM fabric.change c CROSS JOIN LATERAL unnest(c.rows::{row}[]) {ordinality}
 WHERE c.origin = $1 AND c.arrival > $2 AND c.arrival <= $3
   AND c.rel = $4 AND {names} = $5"""

# Where the origin only inserted, each row is there once, and nobody had it before.
_INSERT_NEW = sql.SQL(
    """
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {row_columns}"""
    + _RUN
    + """
    ON CONFLICT ({key}) DO NOTHING"""
)

# Within one origin a later state contains the earlier ones, so the last of each row is enough;
# of what the changes were based on, the earliest counts.
_STAGE = sql.SQL(
    """
INSERT INTO {stage} ({columns}, _fabric_based, _fabric_dead, _fabric_tenant)
SELECT {columns}, _fabric_based, _fabric_dead, _fabric_tenant
  FROM (SELECT {row_columns}, c.tenant AS _fabric_tenant,
               CASE WHEN bool_and(c.op = 'D' OR c.op = 'U' AND written._base IS NOT NULL) OVER run
                    THEN fabric.earliest_base(written._base - '') FILTER (WHERE c.op = 'U') OVER run
                    END AS _fabric_based,
               max({death}) FILTER (WHERE c.op = 'D') OVER run AS _fabric_dead,
               lag(false, 1, true) OVER run AS _fabric_last
"""
    + _RUN
    + """ {narrowed}
        WINDOW run AS (PARTITION BY {row_key} ORDER BY c.arrival DESC, _fabric_place DESC
                       ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)) AS log
 WHERE _fabric_last"""
)

_STAGE_LETTER = sql.SQL("""
INSERT INTO {stage} ({columns}, _fabric_based, _fabric_dead, _fabric_tenant)
SELECT {row_columns}, written._base - '',
       CASE WHEN d.dead IS NOT NULL THEN {letter_death} END,
       d.tenant
  FROM fabric.dead_letter d CROSS JOIN LATERAL populate_record(NULL::{row}, d.state) AS written
 WHERE d.id = $1""")

# Counted, so that no row of it travels. The table is looked into for each staged row, whatever the
# planner thinks of it: it may have been empty when a plan was made that is kept while it grows.
_LOCK = sql.SQL(
    "SELECT count(*) FROM {stage} s"
    " CROSS JOIN LATERAL (SELECT FROM {table} t WHERE {matches} FOR UPDATE) AS locked"
)
_PRESENT = sql.SQL(
    "{stage} s CROSS JOIN LATERAL (SELECT * FROM {table} t WHERE {matches} OFFSET 0) AS t"
)

# A deletion that is known here, from whichever region, keeps its word about older writes. Read
# after the lock: whoever deleted the row meanwhile has committed. Most tables have none: that is
# asked once, not for each row.
_HEED_TOMBSTONES = sql.SQL("""
UPDATE {stage} s SET _fabric_dead = greatest(s._fabric_dead, g.stamp)
  FROM fabric.tombstone g WHERE g.rel = {rel} AND g.pk = {stage_pk}
   AND EXISTS (SELECT FROM fabric.tombstone WHERE rel = {rel})""")

_ANY_DEAD = sql.SQL("SELECT EXISTS (SELECT FROM {stage} WHERE _fabric_dead IS NOT NULL)")

# Whether the row here has anything that the origin had not when it began: a field's stamp that is
# another there, once what it changed is put back. The rows' own stamps don't tell: one may have got
# a later write from elsewhere that the other has, too.
_UNHEARD = sql.SQL(
    "NOT (t._born = s._born AND (coalesce(s._fields, '{}') || coalesce(s._fabric_based, '{}'))"
    " @> coalesce(t._fields, '{}'))"
)

_RECORD_DISCARDED = sql.SQL("""
INSERT INTO fabric.conflict
       (rel, pk, field, loser_stamp, loser, winner_stamp, winner, rule, tenant)
SELECT {rel}, {stage_pk}, d.field, d.loser_stamp, to_jsonb(d.loser), d.winner_stamp,
       to_jsonb(d.winner), 'last writer wins', s._fabric_tenant
  FROM {present}
 CROSS JOIN LATERAL fabric.discarded(hstore(t), hstore(s) - {meta}, s._fabric_based, {ruled},
                                     (SELECT node FROM fabric.member)) d
 WHERE {unheard} AND (s._fabric_dead IS NULL OR s._fabric_dead < s._stamp)
ON CONFLICT DO NOTHING""")

# A write that the deleting region had not seen is discarded with its row …
_RECORD_DELETED = sql.SQL("""
INSERT INTO fabric.conflict
       (rel, pk, field, loser_stamp, loser, winner_stamp, winner, rule, tenant)
SELECT {rel}, {stage_pk}, '*', t._stamp, hstore_to_jsonb(hstore(t)), s._fabric_dead, NULL,
       'later delete wins', s._fabric_tenant
  FROM {present}
 WHERE s._fabric_dead IS NOT NULL AND t._stamp <= s._fabric_dead AND {unheard}
ON CONFLICT DO NOTHING""")

_BURY = sql.SQL("""
INSERT INTO fabric.tombstone AS g (rel, pk, stamp, tenant, state)
SELECT {rel}, {stage_pk}, s._fabric_dead, s._fabric_tenant, hstore(x)
  FROM {stage} s JOIN {scratch} x ON {scratch_matches}
 WHERE s._fabric_dead IS NOT NULL
ON CONFLICT (rel, pk) DO UPDATE
   SET stamp = greatest(g.stamp, EXCLUDED.stamp), state = EXCLUDED.state""")

_DELETE = sql.SQL("""
DELETE FROM {table} t USING {stage} s, {scratch} x
 WHERE {matches} AND {scratch_matches} AND x._stamp <= s._fabric_dead""")


class Statements:
    """Everything that one shape needs, built once a session."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        relation = shape.relation
        every = tuple(relation.plain)
        key = relation.key
        names: dict[str, sql.Composable] = {
            "rel": sql.Literal(relation.name),
            "table": relation.table,
            "stage": shape.stage,
            "scratch": shape.scratch,
            "row": shape.row,
            "columns": listed(shape.stored),
            "row_columns": listed(shape.stored, "written"),
            "key": listed(key),
            "row_key": listed(key, "written"),
            "matches": _equal("t", "s", key),
            "scratch_matches": _equal("x", "s", key),
            # What a type's output function says, which a cast to text need not.
            "stage_pk": sql.SQL("ARRAY[{}]").format(
                joined_up(sql.SQL("format('%s', s.{})").format(sql.Identifier(c)) for c in key)
            ),
            "names": NAMES,
            "unheard": _UNHEARD,
            "meta": texts(("_fabric_based", "_fabric_dead", "_fabric_tenant")),
        }
        names |= {
            "death": sql.SQL("written._stamp" if relation.elements else "c.stamp"),
            "letter_death": sql.SQL("written._stamp" if relation.elements else "d.dead"),
            "ruled": texts(
                (*HIDDEN_COLUMNS, *(c for c, rule in relation.rules if rule != "rename"))
            ),
        }
        names["present"] = _PRESENT.format(**names)
        ordinality = sql.SQL("WITH ORDINALITY AS written({}, _fabric_place)").format(
            listed(shape.written)
        )
        self.key = texts(key)
        self.meta = names["meta"]
        self.matches = names["matches"]
        self.definitions = shape.definitions()
        self.insert_new = _INSERT_NEW.format(**names, ordinality=sql.SQL("AS written"))
        self.stage = _STAGE.format(**names, ordinality=ordinality, narrowed=sql.SQL(""))
        self.stage_row = _STAGE.format(
            **names,
            ordinality=ordinality,
            narrowed=sql.SQL("AND c.seq = $6 AND _fabric_place = $7"),
        )
        self.stage_letter = _STAGE_LETTER.format(**names)
        self.lock = _LOCK.format(**names)
        self.heed_tombstones = _HEED_TOMBSTONES.format(**names)
        self.any_dead = _ANY_DEAD.format(**names)
        self.record_discarded = _RECORD_DISCARDED.format(**names)
        living = sql.SQL("{} s WHERE s._fabric_dead IS NULL").format(shape.stage)
        self.merge = merge_into(shape, relation.table, shape.stored, "s", living)
        # The deleted: all that is known of each, joined; then it stays deleted, or comes back.
        local = names["present"] + sql.SQL(" WHERE s._fabric_dead IS NOT NULL")
        buried = sql.SQL(
            "fabric.tombstone g JOIN {} s ON g.rel = {} AND g.pk = {}"
            " CROSS JOIN LATERAL populate_record(NULL::{}, g.state) AS l"
        ).format(shape.stage, names["rel"], names["stage_pk"], shape.scratch)
        staged = sql.SQL("{} s WHERE s._fabric_dead IS NOT NULL").format(shape.stage)
        revived = sql.SQL("{} x JOIN {} s ON {} WHERE x._stamp > s._fabric_dead").format(
            shape.scratch, shape.stage, names["scratch_matches"]
        )
        self.settle_deleted = [
            merge_into(shape, shape.scratch, every, "t", local),
            merge_into(shape, shape.scratch, every, "l", buried),
            merge_into(shape, shape.scratch, shape.stored, "s", staged),
            _RECORD_DELETED.format(**names),
            _BURY.format(**names),
            _DELETE.format(**names),
            merge_into(shape, relation.table, every, "x", revived),
            sql.SQL("DELETE FROM {}").format(shape.scratch),
        ]
        self.clear = sql.SQL("DELETE FROM {}").format(shape.stage)
        self.drop = sql.SQL("DROP TABLE {}, {}; DROP TYPE {}").format(
            shape.stage, shape.scratch, shape.row
        )
        self.truncate = sql.SQL("TRUNCATE {}, {}").format(shape.stage, shape.scratch)


def _equal(left: str, right: str, columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(left, c), sql.Identifier(right, c))
        for c in columns
    )
