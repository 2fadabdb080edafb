"""The merge of row versions into a table, as one statement. It only builds SQL.

Commutative, associative, idempotent, whatever the fields' rules; reads nothing but the versions. A
value is never taken apart: the merge picks one version's or the other's, typed as it is, unless a
rule says how to join the two.
"""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

from regions.replication.capture import HIDDEN_COLUMNS
from regions.replication.rules import kind
from regions.replication.shapes import Column, Shape

_MERGE = sql.SQL("""
INSERT INTO {into} AS t ({columns}) OVERRIDING SYSTEM VALUE
SELECT {source_columns} FROM {source}
ON CONFLICT ({key}) DO UPDATE
   SET {fields}{lacking}
       _born = greatest(t._born, EXCLUDED._born), _stamp = greatest(t._stamp, EXCLUDED._stamp),
       _base = CASE WHEN EXCLUDED._stamp > t._stamp THEN EXCLUDED._base ELSE t._base END,
       _fields = {states}
 WHERE (t._stamp, t._born) <> (EXCLUDED._stamp, EXCLUDED._born)
    OR t._fields IS DISTINCT FROM EXCLUDED._fields""")

_LATER = sql.SQL(
    "CASE WHEN coalesce(fabric.stamp_of(EXCLUDED._fields -> {n}), EXCLUDED._born)"
    " > coalesce(fabric.stamp_of(t._fields -> {n}), t._born) THEN EXCLUDED.{c} ELSE t.{c} END"
)
_JOIN_FIELDS = sql.SQL(
    "fabric.join_fields(t._fields{without}, t._born, EXCLUDED._fields{without}, EXCLUDED._born,"
    " {visible})"
)
_WITH_STATES = sql.SQL(
    "nullif(coalesce({stamps}, '{{}}') || jsonb_strip_nulls(jsonb_build_object({states})), '{{}}')"
)

# A field with a rule: the newer row's, or of one row's versions what `joined` says.
_RULED = sql.SQL(
    "CASE WHEN EXCLUDED._born > t._born THEN EXCLUDED.{c} WHEN EXCLUDED._born < t._born THEN t.{c}"
    " ELSE {joined} END"
)
_RULED_STATE = sql.SQL(
    "{n}, CASE WHEN EXCLUDED._born > t._born THEN EXCLUDED._fields -> {n}"
    " WHEN EXCLUDED._born < t._born THEN t._fields -> {n} ELSE {state} END"
)
_STATES = {
    "counter": sql.SQL(
        "fabric.join_counter(t._fields -> {n}, t.{c}::numeric, EXCLUDED._fields -> {n},"
        " EXCLUDED.{c}::numeric, t._born)"
    ),
    "set": sql.SQL(
        "fabric.join_set(t._fields -> {n}, t.{c}::text::text[], EXCLUDED._fields -> {n},"
        " EXCLUDED.{c}::text::text[], t._born)"
    ),
    "keep_both": sql.SQL(
        "fabric.join_set(t._fields -> {n}, fabric.kept_element("
        "CASE WHEN t.{c} IS NOT NULL THEN format('%s', t.{c}) END), EXCLUDED._fields -> {n},"
        " fabric.kept_element(CASE WHEN EXCLUDED.{c} IS NOT NULL THEN"
        " format('%s', EXCLUDED.{c}) END), t._born)"
    ),
    "enable_wins": sql.SQL(
        "fabric.join_flag(t._fields -> {n}, t.{c}, EXCLUDED._fields -> {n}, EXCLUDED.{c}, t._born)"
    ),
    "disable_wins": sql.SQL(
        "fabric.join_flag(t._fields -> {n}, NOT t.{c}, EXCLUDED._fields -> {n}, NOT EXCLUDED.{c},"
        " t._born)"
    ),
}
_JOINED = {
    "counter": sql.SQL("coalesce(fabric.counter_value({state})::{type}, {later})"),
    "set": sql.SQL("coalesce(fabric.set_value({state})::text::{type}, {later})"),
    "keep_both": sql.SQL(
        "CASE jsonb_typeof({state}) WHEN 'object' THEN fabric.kept_value({state})::{type}"
        " ELSE {later} END"
    ),
    "enable_wins": sql.SQL("coalesce(fabric.flag_value({state}), {later})"),
    "disable_wins": sql.SQL("coalesce(NOT fabric.flag_value({state}), {later})"),
    "max": sql.SQL("greatest(t.{c}, EXCLUDED.{c})"),
    "min": sql.SQL("least(t.{c}, EXCLUDED.{c})"),
}

_STATES["bounded"] = _STATES["counter"]
_STATES["resolve"] = _STATES["keep_both"]
_JOINED["bounded"] = _JOINED["counter"]
_JOINED["resolve"] = _JOINED["keep_both"]

# Our value is of this row, not of an earlier one with its key.
_LACKING = sql.SQL("{c} = CASE WHEN EXCLUDED._born > t._born THEN {default} ELSE t.{c} END, ")


def merge_into(
    shape: Shape,
    into: sql.Composable,
    columns: tuple[str, ...],
    alias: str,
    source: sql.Composable,
) -> sql.Composed:
    """Merge the versions in `source`, which have `columns`, into the table `into`."""
    key = shape.relation.key
    lacking = [c for c in shape.relation.plain.values() if c.name not in columns]
    ruled = {c: kind(rule) for c, rule in shape.relation.rules if kind(rule) in _JOINED}
    fields = [c for c in columns if c not in HIDDEN_COLUMNS and c not in key]
    states = [c for c in fields if ruled.get(c) in _STATES]
    stamps = _JOIN_FIELDS.format(
        without=sql.SQL(" - {}").format(texts(states)) if states else sql.SQL(""),
        visible=texts(c for c in columns if c not in HIDDEN_COLUMNS and c not in states),
    )
    return _MERGE.format(
        into=into,
        columns=listed((*columns, *(column.name for column in lacking))),
        source_columns=joined_up(
            [*(sql.Identifier(alias, c) for c in columns), *map(_default, lacking)]
        ),
        source=source,
        key=listed(key),
        fields=sql.Composed([_field(shape, c, ruled.get(c)) for c in fields]),
        lacking=sql.Composed(
            [
                _LACKING.format(c=sql.Identifier(column.name), default=_default(column))
                for column in lacking
            ]
        ),
        states=_WITH_STATES.format(
            stamps=stamps,
            states=joined_up(
                _RULED_STATE.format(n=sql.Literal(c), state=_state(c, ruled[c])) for c in states
            ),
        )
        if states
        else stamps,
    )


def _field(shape: Shape, name: str, rule: str | None) -> sql.Composed:
    column = sql.Identifier(name)
    merged = later = _LATER.format(c=column, n=sql.Literal(name))
    if rule is not None:
        joined = _JOINED[rule].format(
            c=column,
            type=sql.SQL(shape.relation.plain[name].type),
            state=_state(name, rule) if rule in _STATES else sql.SQL(""),
            later=later,
        )
        merged = _RULED.format(c=column, joined=joined)
    return sql.SQL("{c} = {merged}, ").format(c=column, merged=merged)


def _state(name: str, rule: str) -> sql.Composed:
    return _STATES[rule].format(c=sql.Identifier(name), n=sql.Literal(name))


def _default(column: Column) -> sql.SQL:
    """The catalog's own text of it."""
    return sql.SQL(column.default or "NULL")


def joined_up(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)


def listed(columns: Iterable[str], prefix: str | None = None) -> sql.Composed:
    return joined_up(sql.Identifier(prefix, c) if prefix else sql.Identifier(c) for c in columns)


def texts(names: Iterable[str]) -> sql.Composed:
    return sql.SQL("ARRAY[{}]::text[]").format(joined_up(map(sql.Literal, names)))
