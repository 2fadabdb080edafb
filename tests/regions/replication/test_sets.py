"""An array that is a set of which additions win, on three real replicas."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.regions.replication.mesh import Mesh

EU, DE, US = "eu-west", "eu-central", "us-east"
REGIONS = (EU, DE, US)
TABLES = """
CREATE TABLE thing (
    id integer PRIMARY KEY, labels varchar(20)[] NOT NULL DEFAULT '{}',
    days date[] NOT NULL DEFAULT '{}'
)"""
DECLARED = {"thing": {"labels": "set", "days": "set"}}


def put(mesh: Mesh, region: str, labels: list[str]) -> None:
    mesh.write(region, "UPDATE thing SET labels = %s", labels)


def everywhere(mesh: Mesh, columns: str = "labels") -> Any:
    found = mesh.settled("thing", columns)
    assert mesh.parked() == []
    return found


def test_what_two_regions_add_at_once_is_all_there(ruled: Mesh) -> None:
    ruled.write(EU, "INSERT INTO thing (id, labels) VALUES (1, '{b,a}')")
    ruled.settle()
    put(ruled, EU, ["b", "a", 'eu, "1"'])
    put(ruled, DE, ["b", "NULL"])
    put(ruled, US, ["b", "a", "us"])
    assert everywhere(ruled) == [(["b", 'eu, "1"', "NULL", "us"],)]


@pytest.mark.parametrize("order", list(permutations(REGIONS)))
def test_an_element_that_was_added_again_meanwhile_stays(ruled: Mesh, order: Any) -> None:
    ruled.write(EU, "INSERT INTO thing (id, labels, days) VALUES (1, '{a}', '{2020-01-01}')")
    ruled.settle()
    for region in order:
        ruled.write(region, "UPDATE thing SET labels = '{}', days = '{}'")
        if region == US:
            ruled.write(US, "UPDATE thing SET labels = '{a}', days = '{2020-01-01}'")
    assert everywhere(ruled, "labels, days::text[]") == [(["a"], ["2020-01-01"])]
    put(ruled, DE, [])
    assert everywhere(ruled) == [([],)]


def test_an_element_stands_there_once_and_the_others_keep_their_places(ruled: Mesh) -> None:
    ruled.write(EU, "INSERT INTO thing (id, labels) VALUES (1, '{m}')")
    ruled.settle()
    put(ruled, EU, ["z", "m", "z"])
    assert ruled.rows(EU, "SELECT labels FROM thing") == [(["m", "z"],)]
    ruled.settle()
    put(ruled, US, ["a", "z", "m"])
    assert everywhere(ruled) == [(["m", "z", "a"],)]


@pytest.mark.parametrize("value", ["{a,NULL}", "{{a},{b}}"])
def test_what_is_no_set_is_refused(ruled: Mesh, value: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        ruled.write(EU, "INSERT INTO thing (id, labels) VALUES (1, %s)", value)
    ruled.write(EU, "INSERT INTO thing (id) VALUES (1)")
    with pytest.raises(psycopg.errors.CheckViolation):
        ruled.write(EU, "UPDATE thing SET labels = %s", value)


class Seen:
    """What a replica has: additions by who made them and when, and those of them that are gone."""

    def __init__(self) -> None:
        self.added: set[tuple[str, int]] = set()
        self.gone: set[tuple[str, int]] = set()

    def alive(self) -> set[str]:
        return {label for label, _ in self.added - self.gone}

    def take(self, other: Seen) -> None:
        self.added |= other.added
        self.gone |= other.gone


steps = st.lists(
    st.tuples(
        st.sampled_from(REGIONS),
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from("abc")),
            st.tuples(st.just("remove"), st.sampled_from("abc")),
            st.tuples(st.just("deliver"), st.sampled_from(REGIONS)),
        ),
    ),
    max_size=14,
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps)
def test_any_history_converges_to_what_nobody_took_off_knowingly(
    ruled: Mesh, history: list[Any]
) -> None:
    ruled.start_anew()
    ruled.write(EU, "INSERT INTO thing (id) VALUES (1)")
    ruled.settle()
    seen = {region: Seen() for region in REGIONS}
    sent = {region: Seen() for region in REGIONS}  # as of its last write
    for number, (region, (what, value)) in enumerate(history):
        here = seen[region]
        if what == "deliver":
            if value != region:
                ruled.deliver(region, value)
                seen[value].take(sent[region])
            continue
        if what == "add" and value not in here.alive():
            here.added.add((value, number))
        elif what == "remove":
            here.gone |= {one for one in here.added if one[0] == value}
        ruled.write(
            region,
            "UPDATE thing SET labels = array_append(array_remove(labels, %s), %s)"
            if what == "add"
            else "UPDATE thing SET labels = array_remove(labels, %s)",
            *([value, value] if what == "add" else [value]),
        )
        sent[region].take(here)
        assert set(ruled.rows(region, "SELECT labels FROM thing")[0][0]) == here.alive()
    for region in REGIONS:
        seen[EU].take(sent[region])
    assert set(everywhere(ruled)[0][0]) == seen[EU].alive()


@st.composite
def versions(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Three states as replicas could hold them: each has seen a beginning of each node's writes."""
    writes = {
        str(node): draw(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=4))
        for node in (1, 2)
    }
    states = []
    for _ in range(3):
        state = {}
        for node, made in writes.items():
            alive: dict[str, int] = {}
            length = draw(st.integers(0, len(made)))
            for number, (label, removed) in enumerate(made[:length], 1):
                alive.pop(label, None)
                if not removed:
                    alive[label] = number << 8 | int(node)
            if length:
                state[node] = [length << 8 | int(node), alive]
        states.append(state)
    return states


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(versions())
def test_the_join_of_states_is_one(ruled: Mesh, states: list[dict[str, Any]]) -> None:
    a, b, c = states

    def join(one: Any, other: Any) -> Any:
        joined = "SELECT fabric.join_set(%s, '{}', %s, '{}', 1)"
        return ruled.write(EU, joined, Jsonb(one), Jsonb(other))[0][0] or {}

    assert join(a, b) == join(b, a)
    assert join(join(a, b), c) == join(a, join(b, c))
    assert join(a, a) == a
    assert join(join(a, b), b) == join(a, b)
