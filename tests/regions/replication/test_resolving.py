"""An application's own function makes one value of several, the same in every region."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regions.replication import capture, letters, resolving, rules
from tests.regions.replication import functions
from tests.regions.replication.mesh import Mesh

EU, DE, US = "eu-west", "eu-central", "us-east"
REGIONS = (EU, DE, US)
TABLE = "CREATE TABLE story (id integer PRIMARY KEY, title text, body text, facts jsonb)"
DECLARED = {
    "story": {
        "body": resolving.rule_of(functions.together),
        "facts": resolving.rule_of(functions.union),
    }
}


@pytest.fixture(scope="module")
def stories_session(mesh_session: Mesh) -> Iterator[Mesh]:
    for writer in mesh_session.writers.values():
        writer.execute(TABLE)
        capture.attach(writer, "public")
    yield mesh_session
    for writer in mesh_session.writers.values():
        writer.execute("DROP TABLE story")
        writer.execute("DELETE FROM fabric.relation WHERE rel = 'public.story'")


@pytest.fixture
def stories(stories_session: Mesh) -> Iterator[Mesh]:
    yield stories_session
    functions.broken.clear()
    start_anew(stories_session)


def start_anew(mesh: Mesh) -> None:
    mesh.settle()
    for writer in mesh.writers.values():
        writer.execute("TRUNCATE story, fabric.tombstone, fabric.dead_letter, fabric.conflict")


def put(mesh: Mesh, region: str, body: str) -> None:
    mesh.write(region, "UPDATE story SET body = %s", body)


def everywhere(mesh: Mesh, columns: str = "body") -> Any:
    mesh.settle()
    first, *others = [mesh.rows(region, "SELECT * FROM story ORDER BY id") for region in REGIONS]
    for other in others:
        assert other == first
    assert parked(mesh) == []
    return mesh.rows(EU, f"SELECT {columns} FROM story ORDER BY id")


def parked(mesh: Mesh) -> list[str]:
    query = "SELECT reason FROM fabric.dead_letter"
    return [row[0] for region in REGIONS for row in mesh.rows(region, query)]


def retry(mesh: Mesh) -> None:
    for region in REGIONS:
        mesh.loop.run_until_complete(letters.retry(mesh.appliers[region]))


@pytest.mark.parametrize("order", list(permutations(REGIONS)))
def test_all_values_reach_the_function_the_oldest_first(stories: Mesh, order: Any) -> None:
    stories.write(EU, "INSERT INTO story (id, body) VALUES (1, 'once')")
    stories.settle()
    for region in order:
        put(stories, region, region)
        stories.write(region, "UPDATE story SET facts = jsonb_build_object(%s::text, 1)", region)
    shown = everywhere(stories, "body, facts")
    assert shown == [(" then ".join(order), dict.fromkeys(REGIONS, 1))]
    # Whoever writes now replaces them; who writes something else keeps them.
    stories.write(US, "UPDATE story SET title = 'x'")
    assert everywhere(stories, "body, facts") == shown
    put(stories, DE, "end")
    assert everywhere(stories) == [("end",)]


def test_a_function_that_raises_parks_its_row_and_nothing_else(stories: Mesh) -> None:
    stories.write(EU, "INSERT INTO story (id, body) VALUES (1, 'once')")
    stories.settle()
    functions.broken.add("eu")
    put(stories, EU, "eu")
    stories.write(EU, "INSERT INTO story (id, body) VALUES (2, 'other')")
    put(stories, US, "us")
    stories.settle()
    assert stories.rows(US, "SELECT id, body FROM story ORDER BY id") == [(1, "us"), (2, "other")]
    reason = "P0001: the resolver tests.regions.replication.functions:together@3 raised KeyError"
    assert set(parked(stories)) == {reason}
    retry(stories)
    assert set(parked(stories)) == {reason}
    functions.broken.clear()
    retry(stories)
    assert everywhere(stories) == [("eu then us",), ("other",)]


def test_a_version_that_is_not_there_yet_is_waited_for(
    stories: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    stories.write(EU, "INSERT INTO story (id, body) VALUES (1, 'once')")
    stories.settle()
    with monkeypatch.context() as earlier:
        earlier.setattr(functions.together, resolving.VERSION, 2)
        resolving.find.cache_clear()
        put(stories, EU, "eu")
        put(stories, US, "us")
        stories.settle()
        assert "is not there in version 3" in parked(stories)[0]
    retry(stories)
    assert everywhere(stories) == [("eu then us",)]


def test_a_deleted_row_that_comes_back_is_resolved_too(stories: Mesh) -> None:
    stories.write(EU, "INSERT INTO story (id, body) VALUES (1, 'once')")
    stories.settle()
    put(stories, EU, "eu")
    stories.write(DE, "DELETE FROM story")
    put(stories, US, "us")
    assert everywhere(stories) == [("eu then us",)]


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
    stories: Mesh, history: list[Any]
) -> None:
    start_anew(stories)
    stories.write(EU, "INSERT INTO story (id, body) VALUES (1, '0')")
    stories.settle()
    for number, (region, step) in enumerate(history, 1):
        if step == "write":
            put(stories, region, str(number))
        elif step == "title":
            stories.write(region, "UPDATE story SET title = %s", str(number))
        elif step != region:
            stories.deliver(region, step)
    ((body, kept),) = everywhere(
        stories,
        "body, ARRAY(SELECT k.value FROM fabric.kept_values(_fields -> 'body') AS k"
        " ORDER BY k.stamp)",
    )
    assert body == " then ".join(kept or ["0"])
