"""A stock is never oversold, not even by regions that are cut off from each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regions.replication import capture, escrow, rules
from tests.regions.replication.mesh import Mesh

EU, DE, US = "eu-west", "eu-central", "us-east"
REGIONS = (EU, DE, US)

TABLE = """
CREATE TABLE shelf (
    id integer PRIMARY KEY, title text, stock integer NOT NULL DEFAULT 0 CHECK (stock >= 0),
    credit numeric(12,2) NOT NULL DEFAULT 0
)"""
DECLARED = {"shelf": {"stock": "bounded", "credit": "bounded:-10"}}


@pytest.fixture(scope="module")
def shelves_session(mesh_session: Mesh) -> Iterator[Mesh]:
    for writer in mesh_session.writers.values():
        writer.execute(TABLE)
        capture.attach(writer, "public")
    yield mesh_session
    for writer in mesh_session.writers.values():
        writer.execute("DROP TABLE shelf")
        writer.execute("DELETE FROM fabric.relation WHERE rel = 'public.shelf'")


@pytest.fixture
def shelves(shelves_session: Mesh) -> Iterator[Mesh]:
    yield shelves_session
    start_anew(shelves_session)


def start_anew(mesh: Mesh) -> None:
    mesh.settle()
    for writer in mesh.writers.values():
        writer.execute("TRUNCATE shelf, fabric.want, fabric.tombstone, fabric.dead_letter")


def stock(mesh: Mesh, region: str, number: int) -> None:
    mesh.write(region, "INSERT INTO shelf (id, stock) VALUES (1, %s)", number)
    mesh.settle()


def sell(mesh: Mesh, region: str, number: int = 1) -> bool:
    """As an application does that knows of nothing. Whether it was let."""
    try:
        mesh.write(region, "UPDATE shelf SET stock = stock - %s", number)
    except psycopg.errors.CheckViolation as refusal:
        return refusal.diag.constraint_name != "fabric_bounded"
    return True


def ask(mesh: Mesh, region: str, number: int) -> None:
    mesh.write(
        region,
        "UPDATE shelf SET _base = jsonb_build_object('ask', jsonb_build_object('stock', %s::int))",
        number,
    )


def answer(mesh: Mesh, region: str) -> int:
    return mesh.loop.run_until_complete(escrow.answer(mesh.appliers[region]))


def rights(mesh: Mesh, region: str) -> int:
    held = mesh.write(
        region,
        "SELECT (fabric.rights_held(_fields -> 'stock', _born, stock, 0)).mine::int FROM shelf",
    )
    return int(held[0][0])


def everywhere(mesh: Mesh, columns: str) -> Any:
    mesh.settle()
    first, *others = [mesh.rows(region, "SELECT * FROM shelf ORDER BY id") for region in REGIONS]
    for other in others:
        assert other == first
    return mesh.rows(EU, f"SELECT {columns} FROM shelf ORDER BY id")


def test_two_regions_that_are_cut_off_do_not_both_sell_the_last_one(shelves: Mesh) -> None:
    stock(shelves, EU, 1)
    assert [sell(shelves, region) for region in (US, EU, DE)] == [False, True, False]
    assert everywhere(shelves, "stock") == [(0,)]


def test_each_region_has_its_share_from_the_start_and_no_more(shelves: Mesh) -> None:
    stock(shelves, EU, 10)
    sold = {region: sum(sell(shelves, region) for _ in range(6)) for region in REGIONS}
    assert sold == {EU: 4, DE: 3, US: 3}
    assert everywhere(shelves, "stock") == [(0,)]
    assert not any(sell(shelves, region) for region in REGIONS)


def test_a_refusal_says_what_is_held_where_and_changes_nothing(shelves: Mesh) -> None:
    stock(shelves, EU, 6)
    with pytest.raises(psycopg.errors.CheckViolation) as info:
        shelves.write(US, "UPDATE shelf SET stock = stock - 3")
    assert info.value.diag.message_detail == (
        "It takes 3, and holds rights for 2; other regions for 4."
    )
    assert shelves.rows(US, "SELECT stock FROM shelf") == [(6,)]


def test_setting_the_value_is_held_to_the_same(shelves: Mesh) -> None:
    stock(shelves, EU, 6)
    with pytest.raises(psycopg.errors.CheckViolation):
        shelves.write(US, "UPDATE shelf SET stock = 1")
    shelves.write(US, "UPDATE shelf SET stock = 5, title = 'set'")
    assert everywhere(shelves, "stock, title") == [(5, "set")]


def test_whoever_asks_is_given_what_others_can_spare_even_the_last_one(shelves: Mesh) -> None:
    stock(shelves, EU, 1)
    ask(shelves, US, 1)
    shelves.settle()
    assert (answer(shelves, DE), answer(shelves, EU), answer(shelves, EU)) == (0, 1, 0)
    # What is given is on its way: nobody has it.
    assert not sell(shelves, EU)
    assert not sell(shelves, US)
    shelves.settle()
    assert sell(shelves, US)
    assert everywhere(shelves, "stock") == [(0,)]


def test_who_sells_most_of_its_share_asks_by_itself(shelves: Mesh) -> None:
    stock(shelves, EU, 30)
    for _ in range(9):
        assert sell(shelves, US)
    shelves.settle()
    assert answer(shelves, EU) + answer(shelves, DE) > 0
    shelves.settle()
    assert rights(shelves, US) > 1
    assert answer(shelves, US) == 0
    assert shelves.rows(US, "TABLE fabric.want") == []


def test_what_is_added_in_one_region_is_shared(shelves: Mesh) -> None:
    stock(shelves, EU, 0)
    assert not sell(shelves, US)
    shelves.write(DE, "UPDATE shelf SET stock = stock + 9")
    shelves.settle()
    assert [rights(shelves, region) for region in REGIONS] == [3, 3, 3]
    assert sell(shelves, US, 3)
    assert everywhere(shelves, "stock") == [(6,)]


def test_the_bound_may_be_below_zero_and_a_row_may_not_begin_below_it(shelves: Mesh) -> None:
    shelves.write(EU, "INSERT INTO shelf (id, credit) VALUES (1, 2.00)")
    shelves.settle()
    shelves.write(US, "UPDATE shelf SET credit = credit - 4")
    with pytest.raises(psycopg.errors.CheckViolation):
        shelves.write(US, "UPDATE shelf SET credit = credit - 0.01")
    shelves.write(EU, "UPDATE shelf SET credit = credit - 4.00")
    assert [tuple(map(str, row)) for row in everywhere(shelves, "credit")] == [("-6.00",)]
    with pytest.raises(psycopg.errors.CheckViolation):
        shelves.write(EU, "INSERT INTO shelf (id, credit) VALUES (2, -10.01)")


def test_the_rights_of_a_region_that_is_gone_are_the_lowest_ones(shelves: Mesh) -> None:
    stock(shelves, EU, 9)
    gone = shelves.node(US)
    lowest, other = sorted((EU, DE), key=shelves.node)
    known = {r: shelves.rows(r, "SELECT * FROM fabric.watermark") for r in (EU, DE)}
    for region in (EU, DE):
        shelves.write(region, "DELETE FROM fabric.watermark WHERE origin = %s", gone)
    try:
        assert not sell(shelves, other, 4)
        assert sell(shelves, lowest, 6)
        assert sell(shelves, other, 3)
        assert not sell(shelves, lowest)
    finally:
        for region, rows in known.items():
            for row in rows:
                marks = ", ".join(["%s"] * len(row))
                shelves.write(
                    region,
                    f"INSERT INTO fabric.watermark VALUES ({marks}) ON CONFLICT DO NOTHING", *row
                )  # fmt: skip
    assert everywhere(shelves, "stock") == [(0,)]


def test_where_a_lease_says_who_writes_the_writer_sells_everything(shelves: Mesh) -> None:
    stock(shelves, EU, 5)
    shelves.write(US, "UPDATE fabric.gate SET valid_until = now() + interval '1 hour'")
    try:
        assert [sell(shelves, US, number) for number in (6, 5, 1)] == [False, True, False]
    finally:
        shelves.write(US, "UPDATE fabric.gate SET valid_until = 'infinity'")
    assert everywhere(shelves, "stock") == [(0,)]


def test_a_counter_becomes_bounded_and_what_was_taken_stays_taken(shelves: Mesh) -> None:
    rules._declared["shelf"] = {"stock": "counter"}
    attach(shelves)
    try:
        shelves.write(EU, "INSERT INTO shelf (id, stock) VALUES (1, 10)")
        shelves.settle()
        shelves.write(US, "UPDATE shelf SET stock = stock - 7")
        shelves.settle()
    finally:
        rules._declared["shelf"] = DECLARED["shelf"]
        attach(shelves)
    assert [sell(shelves, EU, number) for number in (4, 3)] == [False, True]
    assert everywhere(shelves, "stock") == [(0,)]
    assert not any(sell(shelves, region) for region in REGIONS)


def attach(mesh: Mesh) -> None:
    for writer in mesh.writers.values():
        capture.attach(writer, "public")


steps = st.lists(
    st.tuples(
        st.sampled_from(REGIONS),
        st.one_of(
            st.tuples(st.just("sell"), st.integers(1, 5)),
            st.tuples(st.just("add"), st.integers(1, 6)),
            st.tuples(st.just("ask"), st.integers(1, 5)),
            st.tuples(st.just("answer"), st.none()),
            st.tuples(st.just("deliver"), st.sampled_from(REGIONS)),
        ),
    ),
    max_size=16,
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 9), steps)
def test_whatever_happens_in_whatever_order_no_more_is_sold_than_there_was(
    shelves: Mesh, first: int, history: list[Any]
) -> None:
    start_anew(shelves)
    stock(shelves, EU, first)
    left = first
    for region, (what, value) in history:
        if what == "sell":
            left -= value if sell(shelves, region, value) else 0
        elif what == "add":
            shelves.write(region, "UPDATE shelf SET stock = stock + %s", value)
            left += value
        elif what == "ask":
            ask(shelves, region, value)
        elif what == "answer":
            answer(shelves, region)
        elif value != region:
            shelves.deliver(region, value)
        assert left >= 0
    assert everywhere(shelves, "stock") == [(left,)]
    assert sum(rights(shelves, region) for region in REGIONS) == left
    assert [
        row for region in REGIONS for row in shelves.rows(region, "TABLE fabric.dead_letter")
    ] == []
