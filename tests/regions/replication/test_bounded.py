"""A stock is never oversold, not even by regions that are cut off from each other."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regions.replication import capture, escrow, rules
from tests.regions.replication.mesh import Mesh

EU, DE, US = "eu-west", "eu-central", "us-east"
REGIONS = (EU, DE, US)

TABLES = """
CREATE TABLE shelf (
    id integer PRIMARY KEY, title text, stock integer NOT NULL DEFAULT 0 CHECK (stock >= 0),
    credit numeric(12,2) NOT NULL DEFAULT 0
)"""
DECLARED = {"shelf": {"stock": "bounded", "credit": "bounded:-10"}}


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


def test_two_regions_that_are_cut_off_do_not_both_sell_the_last_one(ruled: Mesh) -> None:
    stock(ruled, EU, 1)
    assert [sell(ruled, region) for region in (US, EU, DE)] == [False, True, False]
    assert ruled.settled("shelf", "stock") == [(0,)]


def test_each_region_has_its_share_from_the_start_and_no_more(ruled: Mesh) -> None:
    stock(ruled, EU, 10)
    sold = {region: sum(sell(ruled, region) for _ in range(6)) for region in REGIONS}
    assert sold == {EU: 4, DE: 3, US: 3}
    assert ruled.settled("shelf", "stock") == [(0,)]
    assert not any(sell(ruled, region) for region in REGIONS)


def test_a_refusal_says_what_is_held_where_and_changes_nothing(ruled: Mesh) -> None:
    stock(ruled, EU, 6)
    with pytest.raises(psycopg.errors.CheckViolation) as info:
        ruled.write(US, "UPDATE shelf SET stock = stock - 3")
    assert info.value.diag.message_detail == (
        "It takes 3, and holds rights for 2; other regions for 4."
    )
    assert ruled.rows(US, "SELECT stock FROM shelf") == [(6,)]


def test_setting_the_value_is_held_to_the_same(ruled: Mesh) -> None:
    stock(ruled, EU, 6)
    with pytest.raises(psycopg.errors.CheckViolation):
        ruled.write(US, "UPDATE shelf SET stock = 1")
    ruled.write(US, "UPDATE shelf SET stock = 5, title = 'set'")
    assert ruled.settled("shelf", "stock, title") == [(5, "set")]


def test_whoever_asks_is_given_what_others_can_spare_even_the_last_one(ruled: Mesh) -> None:
    stock(ruled, EU, 1)
    ask(ruled, US, 1)
    ruled.settle()
    assert (answer(ruled, DE), answer(ruled, EU), answer(ruled, EU)) == (0, 1, 0)
    # The applying session wrote the log, and did not take its own entry for one that arrived.
    misplaced = "SELECT seq FROM fabric.change WHERE origin = %s AND arrival <> seq"
    assert ruled.write(EU, misplaced, ruled.node(EU)) == []
    # What is given is on its way: nobody has it.
    assert not sell(ruled, EU)
    assert not sell(ruled, US)
    ruled.settle()
    assert sell(ruled, US)
    assert ruled.settled("shelf", "stock") == [(0,)]


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(1, 9), st.lists(st.integers(1, 12), min_size=3, max_size=3))
def test_where_more_is_wanted_than_there_is_the_rights_come_to_rest(
    ruled: Mesh, first: int, wanted: list[int]
) -> None:
    """The last ones are not passed on and back again for as long as they are wanted."""
    ruled.start_anew()
    stock(ruled, EU, first)
    for region, amount in zip(REGIONS, wanted, strict=True):
        ask(ruled, region, amount)
    for _ in range(12):
        ruled.settle()
        given = sum(answer(ruled, region) for region in REGIONS)
    assert given == 0


def test_a_replica_that_may_not_be_written_gives_nothing(ruled: Mesh) -> None:
    stock(ruled, EU, 1)
    ask(ruled, US, 1)
    ruled.settle()
    ((trusted,),) = ruled.rows(EU, "SELECT trusted_start FROM fabric.gate")
    ruled.write(EU, "UPDATE fabric.gate SET trusted_start = '2020-01-01'")
    try:
        assert answer(ruled, EU) == 0
    finally:
        ruled.write(EU, "UPDATE fabric.gate SET trusted_start = %s", trusted)
    assert answer(ruled, EU) == 1


def test_who_sells_most_of_its_share_asks_by_itself(ruled: Mesh) -> None:
    stock(ruled, EU, 30)
    for _ in range(9):
        assert sell(ruled, US)
    ruled.settle()
    assert answer(ruled, EU) + answer(ruled, DE) > 0
    ruled.settle()
    assert rights(ruled, US) > 1
    assert answer(ruled, US) == 0
    assert ruled.rows(US, "TABLE fabric.want") == []


def test_what_is_added_in_one_region_is_shared(ruled: Mesh) -> None:
    stock(ruled, EU, 0)
    assert not sell(ruled, US)
    ruled.write(DE, "UPDATE shelf SET stock = stock + 9")
    ruled.settle()
    assert [rights(ruled, region) for region in REGIONS] == [3, 3, 3]
    assert sell(ruled, US, 3)
    assert ruled.settled("shelf", "stock") == [(6,)]


def test_the_bound_may_be_below_zero_and_a_row_may_not_begin_below_it(ruled: Mesh) -> None:
    ruled.write(EU, "INSERT INTO shelf (id, credit) VALUES (1, 2.00)")
    ruled.settle()
    ruled.write(US, "UPDATE shelf SET credit = credit - 4")
    with pytest.raises(psycopg.errors.CheckViolation):
        ruled.write(US, "UPDATE shelf SET credit = credit - 0.01")
    ruled.write(EU, "UPDATE shelf SET credit = credit - 4.00")
    assert [tuple(map(str, row)) for row in ruled.settled("shelf", "credit")] == [("-6.00",)]
    with pytest.raises(psycopg.errors.CheckViolation):
        ruled.write(EU, "INSERT INTO shelf (id, credit) VALUES (2, -10.01)")


def test_the_rights_of_a_region_that_is_gone_are_the_lowest_ones(ruled: Mesh) -> None:
    stock(ruled, EU, 9)
    gone = ruled.node(US)
    lowest, other = sorted((EU, DE), key=ruled.node)
    known = {r: ruled.rows(r, "SELECT * FROM fabric.watermark") for r in (EU, DE)}
    for region in (EU, DE):
        ruled.write(region, "DELETE FROM fabric.watermark WHERE origin = %s", gone)
    try:
        assert not sell(ruled, other, 4)
        assert sell(ruled, lowest, 6)
        assert sell(ruled, other, 3)
        assert not sell(ruled, lowest)
    finally:
        for region, rows in known.items():
            for row in rows:
                marks = ", ".join(["%s"] * len(row))
                ruled.write(
                    region,
                    f"INSERT INTO fabric.watermark VALUES ({marks}) ON CONFLICT DO NOTHING", *row
                )  # fmt: skip
    assert ruled.settled("shelf", "stock") == [(0,)]


def test_where_a_lease_says_who_writes_the_writer_sells_everything(ruled: Mesh) -> None:
    stock(ruled, EU, 5)
    ruled.write(US, "UPDATE fabric.gate SET valid_until = now() + interval '1 hour'")
    try:
        assert [sell(ruled, US, number) for number in (6, 5, 1)] == [False, True, False]
    finally:
        ruled.write(US, "UPDATE fabric.gate SET valid_until = 'infinity'")
    assert ruled.settled("shelf", "stock") == [(0,)]


def test_a_counter_becomes_bounded_and_what_was_taken_stays_taken(ruled: Mesh) -> None:
    rules._declared["shelf"] = {"stock": "counter"}
    attach(ruled)
    try:
        ruled.write(EU, "INSERT INTO shelf (id, stock) VALUES (1, 10)")
        ruled.settle()
        ruled.write(US, "UPDATE shelf SET stock = stock - 7")
        ruled.settle()
    finally:
        rules._declared["shelf"] = DECLARED["shelf"]
        attach(ruled)
    assert [sell(ruled, EU, number) for number in (4, 3)] == [False, True]
    assert ruled.settled("shelf", "stock") == [(0,)]
    assert not any(sell(ruled, region) for region in REGIONS)


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
    ruled: Mesh, first: int, history: list[Any]
) -> None:
    ruled.start_anew()
    stock(ruled, EU, first)
    left = first
    for region, (what, value) in history:
        if what == "sell":
            left -= value if sell(ruled, region, value) else 0
        elif what == "add":
            ruled.write(region, "UPDATE shelf SET stock = stock + %s", value)
            left += value
        elif what == "ask":
            ask(ruled, region, value)
        elif what == "answer":
            answer(ruled, region)
        elif value != region:
            ruled.deliver(region, value)
        assert left >= 0
    assert ruled.settled("shelf", "stock") == [(left,)]
    assert sum(rights(ruled, region) for region in REGIONS) == left
    assert [
        row for region in REGIONS for row in ruled.rows(region, "TABLE fabric.dead_letter")
    ] == []
