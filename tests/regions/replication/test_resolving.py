"""An application's own function makes one value of several, the same in every region."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regions.replication import letters, resolving, rules
from tests.regions.replication import functions
from tests.regions.replication.mesh import Mesh

EU, DE, US = "eu-west", "eu-central", "us-east"
REGIONS = (EU, DE, US)
TABLES = """
CREATE TABLE story (id integer PRIMARY KEY, title text, body text, facts jsonb);
CREATE TABLE tale (id integer, title text, body text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE tale_old PARTITION OF tale FOR VALUES FROM (0) TO (10);
CREATE TABLE tale_new PARTITION OF tale FOR VALUES FROM (10) TO (20)
"""
DECLARED = {
    "story": {
        "body": resolving.rule_of(functions.together),
        "facts": resolving.rule_of(functions.union),
    },
    "tale": {"body": resolving.rule_of(functions.together)},
}


@pytest.fixture(autouse=True)
def functions_work_again() -> Iterator[None]:
    yield
    functions.broken.clear()


def put(mesh: Mesh, region: str, body: str) -> None:
    mesh.write(region, "UPDATE story SET body = %s", body)


def everywhere(mesh: Mesh, columns: str = "body") -> Any:
    found = mesh.settled("story", columns)
    assert mesh.parked() == []
    return found


def retry(mesh: Mesh) -> None:
    for region in REGIONS:
        mesh.loop.run_until_complete(letters.retry(mesh.appliers[region]))


@pytest.mark.parametrize("order", list(permutations(REGIONS)))
def test_all_values_reach_the_function_the_oldest_first(ruled: Mesh, order: Any) -> None:
    ruled.write(EU, "INSERT INTO story (id, body) VALUES (1, 'once')")
    ruled.settle()
    for region in order:
        put(ruled, region, region)
        ruled.write(region, "UPDATE story SET facts = jsonb_build_object(%s::text, 1)", region)
    shown = everywhere(ruled, "body, facts")
    assert shown == [(" then ".join(order), dict.fromkeys(REGIONS, 1))]
    # Whoever writes now replaces them; who writes something else keeps them.
    ruled.write(US, "UPDATE story SET title = 'x'")
    assert everywhere(ruled, "body, facts") == shown
    put(ruled, DE, "end")
    assert everywhere(ruled) == [("end",)]


def test_a_value_is_not_given_to_a_row_in_the_same_place_of_another_partition(ruled: Mesh) -> None:
    ruled.write(EU, "INSERT INTO tale (id, body) VALUES (1, 'once'), (11, 'once')")
    ruled.settle()
    ruled.write(US, "UPDATE tale SET body = 'us' WHERE id = 1")
    ruled.write(US, "UPDATE tale SET title = 'x' WHERE id = 11")
    ruled.write(EU, "UPDATE tale SET body = 'eu'")
    assert ruled.settled("tale", "body") == [("us then eu",), ("eu",)]


def test_a_function_that_raises_parks_its_row_and_nothing_else(ruled: Mesh) -> None:
    ruled.write(EU, "INSERT INTO story (id, body) VALUES (1, 'once')")
    ruled.settle()
    functions.broken.add("eu")
    put(ruled, EU, "eu")
    ruled.write(EU, "INSERT INTO story (id, body) VALUES (2, 'other')")
    put(ruled, US, "us")
    ruled.settle()
    assert ruled.rows(US, "SELECT id, body FROM story ORDER BY id") == [(1, "us"), (2, "other")]
    reason = "P0001: the resolver tests.regions.replication.functions:together@3 raised KeyError"
    assert set(ruled.parked()) == {reason}
    retry(ruled)
    assert set(ruled.parked()) == {reason}
    functions.broken.clear()
    retry(ruled)
    assert everywhere(ruled) == [("eu then us",), ("other",)]


def test_a_version_that_is_not_there_yet_is_waited_for(
    ruled: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    ruled.write(EU, "INSERT INTO story (id, body) VALUES (1, 'once')")
    ruled.settle()
    with monkeypatch.context() as earlier:
        earlier.setattr(functions.together, resolving.VERSION, 2)
        resolving.find.cache_clear()
        put(ruled, EU, "eu")
        put(ruled, US, "us")
        ruled.settle()
        assert "is not there in version 3" in ruled.parked()[0]
    retry(ruled)
    assert everywhere(ruled) == [("eu then us",)]


def test_a_deleted_row_that_comes_back_is_resolved_too(ruled: Mesh) -> None:
    ruled.write(EU, "INSERT INTO story (id, body) VALUES (1, 'once')")
    ruled.settle()
    put(ruled, EU, "eu")
    ruled.write(DE, "DELETE FROM story")
    put(ruled, US, "us")
    assert everywhere(ruled) == [("eu then us",)]


def test_what_cannot_be_had_is_said_without_a_value() -> None:
    place = "tests.regions.replication.functions"
    said = {
        f"resolve:{place}:nothing@1": "can't be imported",
        "resolve:no.such.module:f@1": "can't be imported",
        f"resolve:{place}:together@1": "is not there in version 1",
        f"resolve:{place}:union@1": "raised JSONDecodeError",
        f"resolve:{place}:endless@1": "raised TimeoutError",
    }
    for rule, reason in said.items():
        with pytest.raises(psycopg.errors.RaiseException, match=reason) as info:
            resolving.call(rule, ["no json", "b"])
        assert "no json" not in str(info.value)
    assert rules.kind(next(iter(said))) == "resolve"


steps = st.lists(
    st.tuples(
        st.sampled_from(REGIONS),
        st.one_of(st.just("write"), st.just("title"), st.sampled_from(REGIONS)),
    ),
    max_size=14,
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps)
def test_any_history_ends_with_one_value_made_of_those_that_are_kept(
    ruled: Mesh, history: list[Any]
) -> None:
    ruled.start_anew()
    ruled.write(EU, "INSERT INTO story (id, body) VALUES (1, '0')")
    ruled.settle()
    for number, (region, step) in enumerate(history, 1):
        if step == "write":
            put(ruled, region, str(number))
        elif step == "title":
            ruled.write(region, "UPDATE story SET title = %s", str(number))
        elif step != region:
            ruled.deliver(region, step)
    ((body, kept),) = everywhere(
        ruled,
        "body, ARRAY(SELECT k.value FROM fabric.kept_values(_fields -> 'body') AS k"
        " ORDER BY k.stamp)",
    )
    assert body == " then ".join(kept or ["0"])
