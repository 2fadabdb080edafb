"""The merge of two row states is a join: commutative, associative, idempotent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.types.json import Jsonb

from regions.replication.capture import HIDDEN_COLUMNS
from regions.replication.merging import merge_into
from regions.replication.shapes import Column, Relation, Shape
from tests.regions.replication.mesh import Mesh

FIELDS = ("a", "b", "c")


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Three states of one row as three replicas could hold them: random subsets of one history.

    A stamp names one write, so equal stamps carry equal values.
    """
    writes = draw(
        st.lists(
            st.tuples(st.sampled_from(FIELDS), st.integers(2, 40)),
            max_size=8,
            unique_by=lambda w: w[1],
        )
    )
    borns = draw(st.lists(st.sampled_from([1, 20]), min_size=3, max_size=3))
    states = []
    for born in borns:
        seen = [write for write in writes if draw(st.booleans())]
        states.append(state(born, seen))
    return states


def state(born: int, writes: list[tuple[str, int]]) -> dict[str, Any]:
    stamps = dict.fromkeys(FIELDS, born)
    for field, stamp in writes:
        stamps[field] = max(stamps[field], stamp)
    fields = {field: stamp for field, stamp in stamps.items() if stamp != born}
    return {
        **{field: f"{field}@{stamp}" for field, stamp in stamps.items()},
        "_born": born,
        "_stamp": max(stamps.values()),
        "_fields": fields or None,
        "_base": None,
    }


SHAPE = Shape(
    Relation(
        "public.merged",
        ("id",),
        tuple(
            Column(name, type_, False, None)
            for name, type_ in (
                ("id", "integer"),
                *((field, "text") for field in FIELDS),
                ("_born", "bigint"),
                ("_stamp", "bigint"),
                ("_fields", "jsonb"),
                ("_base", "jsonb"),
            )
        ),
    ),
    ("id", *FIELDS, *HIDDEN_COLUMNS),
)


@pytest.fixture
def merge(mesh: Mesh):
    """The statement that applies, on a table of its own."""
    session = mesh.writers["eu-west"]
    columns = ", ".join(f"{c.name} {c.type}" for c in SHAPE.relation.columns)
    session.execute(f"CREATE TEMP TABLE merged ({columns}, PRIMARY KEY (id))")
    table = sql.Identifier("merged")
    statement = merge_into(
        SHAPE,
        table,
        SHAPE.stored,
        "s",
        sql.SQL("jsonb_populate_record(NULL::merged, %s) AS s"),
    )

    def call(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
        with session.transaction(force_rollback=True):
            for version in (left, right):
                session.execute(statement, (Jsonb({"id": 1, **version}),))
            row = session.execute("SELECT to_jsonb(m) - 'id' FROM merged m").fetchone()
        assert row is not None
        return row[0]

    yield call
    session.execute("DROP TABLE merged")


quick = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quick
@given(histories())
def test_merge_is_commutative(merge, states) -> None:
    left, right, _ = states
    assert merge(left, right) == merge(right, left)


@quick
@given(histories())
def test_merge_is_associative(merge, states) -> None:
    a, b, c = states
    assert merge(merge(a, b), c) == merge(a, merge(b, c))


@quick
@given(histories())
def test_merge_is_idempotent_and_absorbs_what_it_has(merge, states) -> None:
    a, b, _ = states
    assert merge(a, a) == a
    assert merge(merge(a, b), b) == merge(a, b)


@quick
@given(histories())
def test_each_field_of_a_merge_is_its_newest_write(merge, states) -> None:
    a, b, _ = states
    merged = merge(a, b)
    for field in FIELDS:
        newest = max((side for side in (a, b)), key=lambda side: int(side[field].split("@")[1]))
        assert merged[field] == newest[field]
