"""Values that were written at once stay beside each other until somebody has seen them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regions.replication import capture
from tests.regions.replication.mesh import Mesh

EU, DE, US = "eu-west", "eu-central", "us-east"
REGIONS = (EU, DE, US)
TABLE = "CREATE TABLE page (id integer PRIMARY KEY, title text, body text, doc jsonb, ok boolean)"
DECLARED = {"page": dict.fromkeys(("body", "doc", "ok"), "keep_both")}


@pytest.fixture(scope="module")
def pages_session(mesh_session: Mesh) -> Iterator[Mesh]:
    for writer in mesh_session.writers.values():
        writer.execute(TABLE)
        capture.attach(writer, "public")
    yield mesh_session
    for writer in mesh_session.writers.values():
        writer.execute("DROP TABLE page")
        writer.execute("DELETE FROM fabric.relation WHERE rel = 'public.page'")


@pytest.fixture
def pages(pages_session: Mesh) -> Iterator[Mesh]:
    yield pages_session
    start_anew(pages_session)


def start_anew(mesh: Mesh) -> None:
    mesh.settle()
    for writer in mesh.writers.values():
        writer.execute("TRUNCATE page, fabric.tombstone, fabric.dead_letter, fabric.conflict")


def put(mesh: Mesh, region: str, body: str | None) -> None:
    mesh.write(region, "UPDATE page SET body = %s", body)


def kept(mesh: Mesh, region: str, field: str = "body") -> list[str | None]:
    found = mesh.write(
        region, "SELECT k.value FROM page, fabric.kept_values(_fields -> %s) AS k", field
    )
    return [value for (value,) in found]


def everywhere(mesh: Mesh, columns: str = "body") -> Any:
    mesh.settle()
    first, *others = [mesh.rows(region, "SELECT * FROM page ORDER BY id") for region in REGIONS]
    for other in others:
        assert other == first
    for region in REGIONS:
        assert mesh.rows(region, "TABLE fabric.dead_letter") == []
    return mesh.rows(EU, f"SELECT {columns} FROM page ORDER BY id")


@pytest.mark.parametrize("order", list(permutations(REGIONS)))
def test_the_newest_is_shown_and_the_others_are_kept(pages: Mesh, order: tuple[str, ...]) -> None:
    pages.write(EU, "INSERT INTO page (id, body) VALUES (1, 'first')")
    pages.settle()
    for region in order:
        put(pages, region, f"by {region}")
    assert everywhere(pages) == [(f"by {order[-1]}",)]
    assert kept(pages, DE) == [f"by {region}" for region in reversed(order)]
    assert pages.rows(DE, "TABLE fabric.conflict") == []
    # Whoever writes now has seen them.
    put(pages, order[0], "settled")
    assert everywhere(pages) == [("settled",)]
    assert kept(pages, US) == ["settled"]


def test_nothing_is_a_value_too_and_so_is_an_empty_text(pages: Mesh) -> None:
    pages.write(EU, "INSERT INTO page (id, body, ok) VALUES (1, 'a', true)")
    pages.settle()
    put(pages, EU, "")
    pages.write(US, "UPDATE page SET body = NULL, ok = NULL")
    pages.write(DE, "UPDATE page SET ok = false, doc = '{\"b\": 1}'")
    assert everywhere(pages, "body, ok, doc") == [(None, False, {"b": 1})]
    assert kept(pages, EU) == [None, ""]
    assert kept(pages, EU, "ok") == ["f", None]


def test_who_settles_on_the_shown_value_forgets_the_others(pages: Mesh) -> None:
    pages.write(EU, "INSERT INTO page (id, body) VALUES (1, 'first')")
    pages.settle()
    put(pages, EU, "one")
    put(pages, US, "other")
    pages.settle()
    # A write of something else does not.
    pages.write(DE, "UPDATE page SET title = 'new', body = body")
    assert everywhere(pages, "body, title") == [("other", "new")]
    assert kept(pages, EU) == ["other", "one"]
    pages.write(DE, """UPDATE page SET _base = '{"settle": "body"}'""")
    assert everywhere(pages) == [("other",)]
    assert kept(pages, EU) == ["other"]


def test_what_was_written_meanwhile_is_kept_beside_what_was_settled(pages: Mesh) -> None:
    pages.write(EU, "INSERT INTO page (id, body) VALUES (1, 'first')")
    pages.settle()
    put(pages, EU, "one")
    put(pages, US, "other")
    pages.deliver(US, EU)
    put(pages, DE, "third")
    put(pages, EU, "both")
    assert everywhere(pages) == [("both",)]
    assert kept(pages, US) == ["both", "third"]


steps = st.lists(
    st.tuples(
        st.sampled_from(REGIONS),
        st.one_of(st.just("write"), st.sampled_from(REGIONS)),
    ),
    max_size=14,
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps)
def test_any_history_keeps_exactly_what_nobody_replaced(pages: Mesh, history: list[Any]) -> None:
    start_anew(pages)
    pages.write(EU, "INSERT INTO page (id, body) VALUES (1, '0')")
    pages.settle()
    # By region: the writes that it has heard of, and those of them that were replaced.
    heard = {region: {"0"} for region in REGIONS}
    replaced: dict[str, set[str]] = {region: set() for region in REGIONS}
    sent = {region: (set(), set()) for region in REGIONS}
    for number, (region, step) in enumerate(history, 1):
        if step == "write":
            put(pages, region, str(number))
            replaced[region] |= heard[region]
            heard[region] |= {str(number)}
            sent[region] = (set(heard[region]), set(replaced[region]))
        elif step != region:
            pages.deliver(region, step)
            heard[step] |= sent[region][0]
            replaced[step] |= sent[region][1]
    for known, old in sent.values():
        heard[EU] |= known
        replaced[EU] |= old
    left = heard[EU] - replaced[EU]
    ((shown,),) = everywhere(pages)
    assert shown == max(left, key=int)
    assert set(kept(pages, US) or ["0"]) == left
