"""Every value arrives byte for byte, whatever its type and the settings of its writer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from regions.replication import capture
from tests.regions.replication.mesh import Mesh

EU, DE, US = "eu-west", "eu-central", "us-east"

TYPES = """
CREATE EXTENSION IF NOT EXISTS citext SCHEMA pg_catalog;
CREATE TYPE colour AS ENUM ('red', 'grün', 'a "b", (c)');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TYPE pair AS (a text, b jsonb, c positive)
"""

# A column of each type, and texts that its input function takes.
SAMPLES: dict[str, list[str]] = {
    "jsonb": [
        "null",
        '"null"',
        '{"a": [1, null, {"b": null}], "": 1.00}',
        "[]",
        '"\\u00e9"',
    ],
    "json": ["null", '{"b":1,  "a":1, "a":2}', " [1.0]"],
    "jsonb[]": ['{null,NULL,"null","{\\"a\\": null}"}'],
    "integer[]": ["{}", "{1,NULL,3}", "{{1,2},{3,4}}", "[0:1]={7,8}"],
    "text[]": ['{"a,b","c\\"d","e\\\\f",NULL,"NULL",""}'],
    "int4range": ["empty", "[1,5)", "(,)"],
    "numrange": ["(1.50,2.0]"],
    "tstzrange": ['["2020-01-01 00:00:00+00",infinity)'],
    "datemultirange": ["{}", "{[2020-01-01,2020-02-01),[2021-01-01,)}"],
    "uuid": ["6e8bc430-9c3a-11d9-9669-0800200c9a66"],
    "inet": ["10.1.2.3/8", "::1", "2001:db8::/32"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "bytea": ["", "\\x00ff5c27", "\\x" + "ab" * 5000],
    "numeric": ["NaN", "Infinity", "-Infinity", "1.230", "1.23", "-0.000", "1" + "0" * 200],
    "numeric(10,3)": ["1.5"],
    "double precision": ["-0", "NaN", "-Infinity", "0.1", "1e-300", "3.0000000000000004"],
    "real": ["-0", "0.1", "16777217"],
    "timestamptz": [
        "infinity",
        "-infinity",
        "0044-03-15 BC",
        "2021-10-31 01:30:00.000001+02",
    ],
    "timestamp": ["infinity", "0001-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999"],
    "date": ["infinity", "0044-03-15 BC", "5874897-12-31"],
    "timetz": ["24:00:00-15:59", "12:30:00.5+05:30"],
    "interval": ["-1 mons +3 days -04:05:06.7", "178000000 years", "-1 day +1 microsecond"],
    "boolean": ["true", "false"],
    "char(5)": ["", "ab", "ab   "],
    "varchar(9)": ["", "  x  "],
    "text": ["", "NULL", "()", "\t\n\r\\ \"'", "\u00e9 e\u0301 \U0001f600 \ufeff \x01"],
    "bit(4)": ["1010"],
    "bit varying": ["", "0001"],
    "money": ["-1234.56", "92233720368547758.07"],
    "point": ["(-0,1e-300)"],
    "tsvector": ["'a':1A,2B 'it''s':3"],
    "hstore": ['"null"=>NULL, "NULL"=>"NULL", ""=>""'],
    "citext": ["MiXed"],
    "colour": ["grün", 'a "b", (c)'],
    "positive": ["7"],
    "pair": ['("x, ""y""",null,3)', "(,,)"],
    "pair[]": ['{"(a,\\"[null]\\",1)",NULL}'],
}
MADE = ("hstore", "citext", "colour", "positive", "pair", "pair[]")

# Under which a careless capture would write something else.
UNKIND = """
SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'sql_standard'; SET extra_float_digits = -15;
SET bytea_output = 'escape'; SET TimeZone = 'America/New_York'; SET lc_monetary = 'C'
"""


@pytest.fixture(scope="module")
def kinds(mesh_session: Mesh) -> Iterator[Mesh]:
    """A table with a column of each type, everywhere."""
    columns = ", ".join(f"c{n} {kind}" for n, kind in enumerate(SAMPLES))
    for region, writer in mesh_session.writers.items():
        with mesh_session.administrator(region) as admin:
            admin.execute(TYPES)
        writer.execute(f"CREATE TABLE kinds (id integer PRIMARY KEY, {columns})")
        capture.attach(writer, "public")
    yield mesh_session
    mesh_session.settle()
    for region, writer in mesh_session.writers.items():
        writer.execute("DROP TABLE kinds; DELETE FROM fabric.relation WHERE rel = 'public.kinds'")
        with mesh_session.administrator(region) as admin:
            admin.execute("DROP TYPE pair, colour; DROP DOMAIN positive; DROP EXTENSION citext")
    for writer in mesh_session.writers.values():
        writer.execute("TRUNCATE fabric.conflict, fabric.tombstone, fabric.dead_letter")


def bytes_of(mesh: Mesh, region: str) -> list[Any]:
    """What is stored: each value as PostgreSQL sends it in binary."""
    names = [f"c{n}" for n in range(len(SAMPLES))]
    session = mesh.writers[region]
    cursor = session.cursor(binary=True)
    rows = []
    for name, kind in zip(names, SAMPLES, strict=True):
        # Those that somebody made have other numbers in another database: their text is exact.
        wanted = f"{name}::text" if kind in MADE else f"array_send(ARRAY[{name}])"
        if kind.endswith("[]") and kind not in MADE:
            wanted = f"array_send({name}) || textsend(array_dims({name}))"
        rows.append(cursor.execute(f"SELECT id, {wanted} FROM kinds ORDER BY id").fetchall())
    return rows


def write(mesh: Mesh, statement: str, params: list[Any], *, unkind: bool) -> None:
    session = mesh.writers[EU]
    if unkind:
        session.execute(UNKIND)
    try:
        session.execute(statement, params)
    finally:
        session.execute("RESET ALL")


def test_every_sample_arrives_by_insert_and_by_update(kinds: Mesh) -> None:
    longest = max(map(len, SAMPLES.values()))
    names = ", ".join(f"c{n}" for n in range(len(SAMPLES)))
    given = ", ".join(f"%s::text::{kind} AS c{n}" for n, kind in enumerate(SAMPLES))
    for unkind in (False, True):
        for turn in range(longest + 1):
            values = [texts[turn] if turn < len(texts) else None for texts in SAMPLES.values()]
            # As texts in kind settings: only what is captured may suffer from the others.
            session = kinds.writers[EU]
            session.execute(f"CREATE TEMP TABLE given AS SELECT {given}", values)
            write(
                kinds,
                f"INSERT INTO kinds SELECT {turn + 100 * unkind}, given.* FROM given",
                [],
                unkind=unkind,
            )
            write(
                kinds,
                "INSERT INTO kinds (id) VALUES (%s)",
                [turn + 1000 + 100 * unkind],
                unkind=unkind,
            )
            write(
                kinds,
                f"UPDATE kinds SET ({names}) = (SELECT * FROM given) WHERE id = %s",
                [turn + 1000 + 100 * unkind],
                unkind=unkind,
            )
            session.execute("DROP TABLE given")
    kinds.settle()
    here = bytes_of(kinds, EU)
    for region in (DE, US):
        for kind, ours, theirs in zip(SAMPLES, here, bytes_of(kinds, region), strict=True):
            assert theirs == ours, (region, kind)
    assert kinds.rows(DE, "SELECT reason FROM fabric.dead_letter") == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("NULL::jsonb", "'null'::jsonb"),
        ("'1.0'::numeric", "'1.00'::numeric"),
        ("'0'::float8", "'-0'::float8"),
        ("'{\"a\":1}'::json", "'{\"a\": 1}'::json"),
        ("'0.1'::float8", "'0.10000000000000002'::float8"),
        ("'{1,2}'::integer[]", "'[0:1]={1,2}'::integer[]"),
    ],
)
def test_a_change_that_equality_does_not_see_is_a_change(
    kinds: Mesh, before: str, after: str
) -> None:
    kind = {"numeric": "numeric", "float8": "double precision"}.get(
        before.rpartition("::")[2], before.rpartition("::")[2]
    )
    name = f"c{list(SAMPLES).index(kind)}"
    kinds.write(EU, "DELETE FROM kinds")
    kinds.settle()
    kinds.write(EU, f"INSERT INTO kinds (id, {name}) VALUES (1, {before})")
    kinds.settle()
    write(kinds, f"UPDATE kinds SET {name} = {after}", [], unkind=True)
    kinds.write(US, f"UPDATE kinds SET c{list(SAMPLES).index('text')} = 'meanwhile'")
    kinds.settle()
    assert bytes_of(kinds, EU) == bytes_of(kinds, DE) == bytes_of(kinds, US)
    assert kinds.rows(US, f"SELECT {name}::text FROM kinds") == kinds.rows(
        US, f"SELECT ({after})::text"
    )


def test_a_value_of_megabytes_that_an_update_left_alone_stays(kinds: Mesh) -> None:
    name = f"c{list(SAMPLES).index('text')}"
    kinds.write(EU, "DELETE FROM kinds")
    kinds.write(
        EU,
        f"INSERT INTO kinds (id, {name}) SELECT 1, string_agg(md5(n::text), '')"
        " FROM generate_series(1, 100000) n",
    )
    kinds.settle()
    kinds.write(US, "UPDATE kinds SET c0 = '1'")
    kinds.settle()
    assert kinds.rows(DE, f"SELECT length({name}) FROM kinds") == [(3_200_000,)]
    assert bytes_of(kinds, EU) == bytes_of(kinds, DE) == bytes_of(kinds, US)


any_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(
        st.tuples(
            st.none() | any_text,
            st.none() | any_json,
            # Which of the many NaNs it was is not in its text; PostgreSQL takes all for one.
            st.none() | st.floats(allow_nan=False) | st.just(math.nan),
            st.none() | st.binary(),
            st.none() | st.lists(st.none() | any_text, max_size=4),
            st.none() | st.decimals(allow_nan=False) | st.just(Decimal("NaN")),
            st.none() | st.timedeltas(),
        ),
        min_size=1,
        max_size=4,
    ),
    unkind=st.booleans(),
)
def test_whatever_is_written_arrives(kinds: Mesh, rows: list[Any], unkind: bool) -> None:
    order = list(SAMPLES)
    columns = ("text", "jsonb", "double precision", "bytea", "text[]", "numeric", "interval")
    names = ", ".join(f"c{order.index(kind)}" for kind in columns)
    kinds.write(EU, "DELETE FROM kinds")
    write(
        kinds,
        f"INSERT INTO kinds (id, {names}) VALUES "
        + ", ".join("(%s, %s, %s, %s, %s, %s::text[], %s, %s)" for _ in rows),
        [
            value
            for number, row in enumerate(rows)
            for value in (number, row[0], row[1] if row[1] is None else Jsonb(row[1]), *row[2:])
        ],
        unkind=unkind,
    )
    kinds.deliver(EU, DE)
    assert bytes_of(kinds, EU) == bytes_of(kinds, DE)


def test_columns_may_be_called_what_the_capture_calls_something(mesh_session: Mesh) -> None:
    names = (
        "here, columns, docs, doc, stamp, stamped, txn, owner, lead, number, clear, newest, dead"
    )
    texts = ", ".join(f"{name} text" for name in names.split(", "))
    mesh_session.make(f"CREATE TABLE words (id integer PRIMARY KEY, {texts})")
    values = ", ".join(f"'{name}'" for name in names.split(", "))
    mesh_session.write(EU, f"INSERT INTO words (id, {names}) VALUES (1, {values}), (2, {values})")
    mesh_session.write(EU, "UPDATE words SET doc = here")
    mesh_session.write(EU, "DELETE FROM words WHERE id = 2")
    mesh_session.settle()
    mesh_session.assert_equal("words")
    assert mesh_session.rows(DE, "SELECT id, doc FROM words") == [(1, "here")]
    mesh_session.drop(["words"])
