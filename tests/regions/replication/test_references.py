"""A parent deleted in one region, children added in another: nothing dangles, nothing is lost."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regions.deployment import AGENT_ROLE
from regions.errors import NotSettled
from regions.replication import references
from regions.replication.references import RULE
from regions.replication.session import open_session
from tests.regions.replication.looking import DE, EU, REGIONS, US, applied, behind_its_back
from tests.regions.replication.mesh import Mesh

_TO = "REFERENCES {} DEFERRABLE INITIALLY DEFERRED"
TABLES = f"""
CREATE TABLE parent (id bigint PRIMARY KEY, name text);
CREATE TABLE child (id bigint PRIMARY KEY, parent_id bigint NOT NULL {_TO.format("parent")});
CREATE TABLE friend (id bigint PRIMARY KEY, parent_id bigint {_TO.format("parent")});
CREATE TABLE grandchild (id bigint PRIMARY KEY, child_id bigint NOT NULL {_TO.format("child")});
"""
DECLARED: dict[str, dict[str, str]] = {
    name: {} for name in ("grandchild", "friend", "child", "parent")
}
LINKS = [(a, b) for a in REGIONS for b in REGIONS if a != b]
NUMBERS = itertools.count(1)
PARENTS = (1, 2)
DANGLING = """
SELECT 'child', id FROM child c WHERE NOT EXISTS (SELECT FROM parent p WHERE p.id = c.parent_id)
UNION ALL SELECT 'friend', id FROM friend c WHERE parent_id IS NOT NULL
             AND NOT EXISTS (SELECT FROM parent p WHERE p.id = c.parent_id)
UNION ALL SELECT 'grandchild', id FROM grandchild c
           WHERE NOT EXISTS (SELECT FROM child p WHERE p.id = c.child_id)
"""
WRITES = {
    "parent": "INSERT INTO parent VALUES ({parent}, 'p') ON CONFLICT DO NOTHING",
    "child": "INSERT INTO child VALUES ({number}, {parent})",
    "friend": "INSERT INTO friend VALUES ({number}, {parent})",
    "grandchild": "INSERT INTO grandchild SELECT {number}, max(id) FROM child"
    " WHERE parent_id = {parent} HAVING max(id) IS NOT NULL",
    "rename": "UPDATE parent SET name = name || '.' WHERE id = {parent}",
    "delete": "WITH c AS (DELETE FROM grandchild WHERE child_id IN (SELECT id FROM child"
    " WHERE parent_id = {parent})), d AS (DELETE FROM child WHERE parent_id = {parent}),"
    " f AS (UPDATE friend SET parent_id = NULL WHERE parent_id = {parent})"
    " DELETE FROM parent WHERE id = {parent}",
}

FIRST = [(what, EU, parent) for what in ("parent", "child") for parent in PARENTS]

step = st.one_of(
    st.tuples(st.sampled_from(list(WRITES)), st.sampled_from(REGIONS), st.sampled_from(PARENTS)),
    st.tuples(st.just("deliver"), st.sampled_from(LINKS), st.just(0)),
)


def mended(mesh: Mesh, region: str) -> int:
    """In a session of its own, as agents have it."""

    async def run() -> int:
        dsn = mesh.deployment.dsn(region, mesh.spec.database, AGENT_ROLE)
        session = await open_session(dsn)
        try:
            async with applied(mesh):
                return await references.mend(mesh.deployment, mesh.spec, session)
        finally:
            await session.close()

    return mesh.loop.run_until_complete(run())


def carry_out(mesh: Mesh, what: str, where: Any, parent: int) -> None:
    if what == "deliver":
        mesh.deliver(*where)
        return
    with suppress(psycopg.errors.ForeignKeyViolation):  # as in any database
        mesh.write(where, WRITES[what].format(number=next(NUMBERS), parent=parent))


@settings(max_examples=8)
@given(steps=st.lists(step, min_size=6, max_size=16), region=st.sampled_from(REGIONS))
def test_whatever_meets_nothing_dangles_and_every_row_that_goes_is_on_record(
    ruled_session: Mesh, steps: list[Any], region: str
) -> None:
    """The end of it is the attack itself: whatever came before, a deletion meets a new child."""
    mesh = ruled_session
    for what, where, parent in [*FIRST, *steps]:
        carry_out(mesh, what, where, parent)
    mesh.settle()
    carry_out(mesh, "parent", EU, 1)
    mesh.settle()
    carry_out(mesh, "delete", EU, 1)
    for what in ("child", "friend", "grandchild"):
        carry_out(mesh, what, DE, 1)
    mesh.settle()
    before = set(mesh.rows(EU, DANGLING))
    assert len(before) >= 2
    assert mended(mesh, region) >= len(before)
    mesh.settle()
    for table in DECLARED:
        mesh.assert_equal(table)
    assert [mesh.rows(each, DANGLING) for each in REGIONS] == [[], [], []]
    recorded = {
        (rel.removeprefix("public."), int(pk[0]))
        for rel, pk in mesh.rows(
            region, f"SELECT rel, pk FROM fabric.conflict WHERE rule = '{RULE}'"
        )
    }
    assert before <= recorded
    mesh.start_anew()


def test_a_row_that_needs_its_parent_goes_and_one_that_does_not_loses_the_reference(
    ruled: Mesh,
) -> None:
    ruled.write(EU, "INSERT INTO parent VALUES (1, 'one')")
    ruled.settle()
    ruled.write(EU, "DELETE FROM parent")
    ruled.write(DE, "INSERT INTO child VALUES (10, 1)")
    ruled.write(DE, "INSERT INTO grandchild VALUES (100, 10)")
    ruled.write(US, "INSERT INTO friend VALUES (20, 1)")
    ruled.settle()
    assert mended(ruled, DE) == 3
    ruled.settle()
    assert ruled.settled("friend", "id, parent_id") == [(20, None)]
    assert ruled.settled("child", "id") == ruled.settled("grandchild", "id") == []
    kept = ruled.rows(
        DE, "SELECT rel, field, loser ->> 'parent_id', loser, rule FROM fabric.conflict ORDER BY 1"
    )
    assert [(rel, field) for rel, field, *_ in kept] == [
        ("public.child", "*"), ("public.friend", "parent_id"), ("public.grandchild", "*")
    ]  # fmt: skip
    assert kept[0][2] == kept[1][3] == "1"
    assert {rule for *_, rule in kept} == {RULE}


def test_a_parent_that_is_only_late_is_waited_for(ruled: Mesh) -> None:
    """It was deleted once, so there is a tombstone; it is back, and its child was here first."""
    ruled.write(EU, "INSERT INTO parent VALUES (1, 'one')")
    ruled.write(EU, "DELETE FROM parent")
    ruled.settle()
    ruled.write(EU, "INSERT INTO parent VALUES (1, 'back')")
    ruled.deliver(EU, DE)
    ruled.write(DE, "INSERT INTO child VALUES (10, 1)")
    ruled.deliver(DE, US)
    assert ruled.rows(US, DANGLING) == [("child", 10)]
    assert ruled.loop.run_until_complete(references.any_dangling(ruled.appliers[US]))
    assert mended(ruled, US) == 0
    assert ruled.settled("child", "id, parent_id") == [(10, 1)]


def test_without_one_region_s_word_nothing_is_mended(ruled: Mesh) -> None:
    ruled.write(EU, "INSERT INTO parent VALUES (1, 'one')")
    ruled.settle()
    ruled.write(EU, "DELETE FROM parent")
    ruled.write(DE, "INSERT INTO child VALUES (10, 1)")
    ruled.settle()
    # EU's server is there, and what it says does not arrive.
    with pytest.raises(NotSettled):
        ruled.loop.run_until_complete(
            references.mend(ruled.deployment, ruled.spec, ruled.appliers[US], patience=0.1)
        )
    assert ruled.rows(US, DANGLING) == [("child", 10)]
    # A row that somebody holds keeps nobody waiting.
    with ruled.writers[US].transaction():
        ruled.writers[US].execute("SELECT FROM child FOR UPDATE")
        assert mended(ruled, US) == 0
    assert mended(ruled, US) == 1


def test_a_region_that_may_not_write_mends_nothing(ruled: Mesh) -> None:
    ruled.write(EU, "INSERT INTO parent VALUES (1, 'one')")
    ruled.settle()
    ruled.write(EU, "DELETE FROM parent")
    ruled.write(DE, "INSERT INTO child VALUES (10, 1)")
    ruled.settle()
    behind_its_back(ruled, US, "UPDATE fabric.gate SET valid_until = '-infinity'")
    try:
        with pytest.raises(psycopg.Error, match="may not be written"):
            mended(ruled, US)
    finally:
        behind_its_back(ruled, US, "UPDATE fabric.gate SET valid_until = 'infinity'")
    assert mended(ruled, US) == 1


PARTS = """
CREATE TABLE keeper (id bigint PRIMARY KEY);
CREATE TABLE thing (
    id bigint, at integer, PRIMARY KEY (id, at),
    keeper_id bigint NOT NULL REFERENCES keeper DEFERRABLE INITIALLY DEFERRED
) PARTITION BY RANGE (at);
CREATE TABLE thing_old PARTITION OF thing FOR VALUES FROM (0) TO (10);
CREATE TABLE thing_new PARTITION OF thing FOR VALUES FROM (10) TO (20)
"""


def test_a_row_is_not_mended_for_one_in_the_same_place_of_another_partition(mesh: Mesh) -> None:
    mesh.make(PARTS)
    try:
        mesh.write(EU, "INSERT INTO keeper VALUES (1), (2)")
        mesh.settle()
        mesh.write(EU, "DELETE FROM keeper WHERE id = 1")
        mesh.write(DE, "INSERT INTO thing VALUES (1, 5, 1), (2, 15, 2)")
        assert mesh.rows(DE, "SELECT count(DISTINCT ctid) FROM thing") == [(1,)]
        mesh.settle()
        assert mended(mesh, DE) == 1
        assert mesh.settled("thing", "id") == [(2,)]
    finally:
        mesh.start_anew()
        mesh.drop(["thing", "keeper"])
