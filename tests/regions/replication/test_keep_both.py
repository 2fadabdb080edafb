"""Values that were written at once stay beside each other until somebody has seen them."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.regions.replication.mesh import Mesh

EU, DE, US = "eu-west", "eu-central", "us-east"
REGIONS = (EU, DE, US)
TABLES = "CREATE TABLE page (id integer PRIMARY KEY, title text, body text, doc jsonb, ok boolean)"
DECLARED = {"page": dict.fromkeys(("body", "doc", "ok"), "keep_both")}


def put(mesh: Mesh, region: str, body: str | None) -> None:
    mesh.write(region, "UPDATE page SET body = %s", body)


def kept(mesh: Mesh, region: str, field: str = "body") -> list[str | None]:
    found = mesh.write(
        region, "SELECT k.value FROM page, fabric.kept_values(_fields -> %s) AS k", field
    )
    return [value for (value,) in found]


def everywhere(mesh: Mesh, columns: str = "body") -> Any:
    found = mesh.settled("page", columns)
    assert mesh.parked() == []
    return found


@pytest.mark.parametrize("order", list(permutations(REGIONS)))
def test_the_newest_is_shown_and_the_others_are_kept(ruled: Mesh, order: tuple[str, ...]) -> None:
    ruled.write(EU, "INSERT INTO page (id, body) VALUES (1, 'first')")
    ruled.settle()
    for region in order:
        put(ruled, region, f"by {region}")
    assert everywhere(ruled) == [(f"by {order[-1]}",)]
    assert kept(ruled, DE) == [f"by {region}" for region in reversed(order)]
    assert ruled.rows(DE, "TABLE fabric.conflict") == []
    # Whoever writes now has seen them.
    put(ruled, order[0], "settled")
    assert everywhere(ruled) == [("settled",)]
    assert kept(ruled, US) == ["settled"]


def test_nothing_is_a_value_too_and_so_is_an_empty_text(ruled: Mesh) -> None:
    ruled.write(EU, "INSERT INTO page (id, body, ok) VALUES (1, 'a', true)")
    ruled.settle()
    put(ruled, EU, "")
    ruled.write(US, "UPDATE page SET body = NULL, ok = NULL")
    ruled.write(DE, "UPDATE page SET ok = false, doc = '{\"b\": 1}'")
    assert everywhere(ruled, "body, ok, doc") == [(None, False, {"b": 1})]
    assert kept(ruled, EU) == [None, ""]
    assert kept(ruled, EU, "ok") == ["f", None]


def test_who_settles_on_the_shown_value_forgets_the_others(ruled: Mesh) -> None:
    ruled.write(EU, "INSERT INTO page (id, body) VALUES (1, 'first')")
    ruled.settle()
    put(ruled, EU, "one")
    put(ruled, US, "other")
    ruled.settle()
    # A write of something else does not.
    ruled.write(DE, "UPDATE page SET title = 'new', body = body")
    assert everywhere(ruled, "body, title") == [("other", "new")]
    assert kept(ruled, EU) == ["other", "one"]
    ruled.write(DE, """UPDATE page SET _base = '{"settle": "body"}'""")
    assert everywhere(ruled) == [("other",)]
    assert kept(ruled, EU) == ["other"]


def test_what_was_written_meanwhile_is_kept_beside_what_was_settled(ruled: Mesh) -> None:
    ruled.write(EU, "INSERT INTO page (id, body) VALUES (1, 'first')")
    ruled.settle()
    put(ruled, EU, "one")
    put(ruled, US, "other")
    ruled.deliver(US, EU)
    put(ruled, DE, "third")
    put(ruled, EU, "both")
    assert everywhere(ruled) == [("both",)]
    assert kept(ruled, US) == ["both", "third"]


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
def test_any_history_keeps_exactly_what_nobody_replaced(ruled: Mesh, history: list[Any]) -> None:
    ruled.start_anew()
    ruled.write(EU, "INSERT INTO page (id, body) VALUES (1, '0')")
    ruled.settle()
    # By region: the writes that it has heard of, and those of them that were replaced.
    heard = {region: {"0"} for region in REGIONS}
    replaced: dict[str, set[str]] = {region: set() for region in REGIONS}
    sent = {region: (set(), set()) for region in REGIONS}
    for number, (region, step) in enumerate(history, 1):
        if step == "write":
            put(ruled, region, str(number))
            replaced[region] |= heard[region]
            heard[region] |= {str(number)}
            sent[region] = (set(heard[region]), set(replaced[region]))
        elif step != region:
            ruled.deliver(region, step)
            heard[step] |= sent[region][0]
            replaced[step] |= sent[region][1]
    for known, old in sent.values():
        heard[EU] |= known
        replaced[EU] |= old
    left = heard[EU] - replaced[EU]
    ((shown,),) = everywhere(ruled)
    assert shown == max(left, key=int)
    assert set(kept(ruled, US) or ["0"]) == left
