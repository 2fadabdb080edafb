"""Tombstones go when nothing that is still to come needs them, and not before."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regions.deployment import OWNER_ROLE
from regions.errors import NotSettled
from regions.replication import apply
from regions.replication.collecting import Collected, collect
from tests.regions.replication.looking import DE, EU, REGIONS, US, behind_its_back
from tests.regions.replication.mesh import Mesh

LINKS = [(a, b) for a in REGIONS for b in REGIONS if a != b]
ROWS = "SELECT title, votes, _stamp FROM note WHERE id = %s"
TOMBSTONES = "SELECT pk, stamp, state::text FROM fabric.tombstone WHERE pk = ARRAY['%s'] ORDER BY 1"
PUT_BACK = """
INSERT INTO fabric.tombstone (rel, pk, stamp, state) VALUES ('public.note', %s, %s, %s::hstore)
ON CONFLICT DO NOTHING
"""
KEYS = itertools.count(1_000, 2)

step = st.one_of(
    st.tuples(st.sampled_from(["insert", "title", "votes", "delete"]), st.sampled_from(REGIONS)),
    st.tuples(st.just("deliver"), st.sampled_from(LINKS)),
    st.tuples(st.just("collect"), st.sets(st.sampled_from(LINKS), max_size=2)),
)
WRITES = {
    "insert": "INSERT INTO note (id, title) SELECT n, 'new' FROM generate_series({0}, {0} + 1) n"
    " ON CONFLICT DO NOTHING",
    "title": "UPDATE note SET title = title || '.' WHERE id IN ({0}, {0} + 1)",
    "votes": "UPDATE note SET votes = votes + 1 WHERE id IN ({0}, {0} + 1)",
    "delete": "DELETE FROM note WHERE id IN ({0}, {0} + 1)",
}


def collected(mesh: Mesh, *, cut: Collection[Any] = (), patience: float = 60.0) -> Collected:
    """`cut`: links that bring nothing meanwhile."""

    async def run() -> Collected:
        stop = asyncio.Event()

        async def pump() -> None:
            while not stop.is_set():
                for sender, receiver in LINKS:
                    if (sender, receiver) not in cut:
                        await apply.step(mesh.appliers[receiver], mesh.node(sender))
                await asyncio.sleep(0.002)

        task = asyncio.create_task(pump())
        try:
            return await collect(mesh.deployment, mesh.spec, patience=patience)
        finally:
            stop.set()
            await task

    return mesh.loop.run_until_complete(run())


def carry_out(mesh: Mesh, key: int, what: str, where: Any) -> None:
    """Two rows share every write; the second one's tombstones are put back once collected."""
    if what == "deliver":
        mesh.deliver(*where)
    elif what != "collect":
        mesh.write(where, WRITES[what].format(key))
    elif where:
        with pytest.raises(NotSettled):
            collected(mesh, cut=where, patience=0.1)
    else:
        kept = {region: mesh.rows(region, TOMBSTONES % (key + 1)) for region in REGIONS}
        collected(mesh)
        for region, tombstones in kept.items():
            assert mesh.rows(region, TOMBSTONES % key) == []
            for tombstone in tombstones:
                with mesh.administrator(region) as admin:
                    admin.execute(PUT_BACK, tombstone)


@pytest.fixture(scope="module")
def long_mesh(mesh_session: Mesh) -> Iterator[Mesh]:
    yield mesh_session
    mesh_session.start_anew()


@settings(max_examples=6)
@given(steps=st.lists(step, min_size=4, max_size=10))
def test_a_row_fares_the_same_whether_its_tombstones_are_collected_or_kept(
    long_mesh: Mesh, steps: list[tuple[str, Any]]
) -> None:
    mesh, key = long_mesh, next(KEYS)
    mesh.write(EU, WRITES["insert"].format(key))
    for what, where in steps:
        carry_out(mesh, key, what, where)
    mesh.settle()
    first = mesh.rows(EU, ROWS % key)
    for region in REGIONS:
        assert mesh.rows(region, ROWS % key) == first
        assert mesh.rows(region, ROWS % (key + 1)) == first


def test_a_write_that_is_older_than_the_deletion_and_not_committed_yet_holds_the_tombstone(
    mesh: Mesh,
) -> None:
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (1, 'one')")
    mesh.settle()
    dsn = mesh.deployment.dsn(DE, mesh.spec.database, OWNER_ROLE)
    with psycopg.connect(dsn) as late:
        late.execute("UPDATE note SET title = 'late' WHERE id = 1")
        mesh.write(EU, "DELETE FROM note WHERE id = 1")
        mesh.deliver(EU, US)
        with pytest.raises(NotSettled, match="a transaction in eu-central takes longer"):
            collected(mesh, cut={(EU, DE)}, patience=3.0)
        assert len(mesh.rows(US, TOMBSTONES % 1)) == 1
    collected(mesh)
    assert [mesh.rows(region, TOMBSTONES % 1) for region in REGIONS] == [[], [], []]
    assert [mesh.rows(region, ROWS % 1) for region in REGIONS] == [[], [], []]


def test_a_row_that_has_a_dead_letter_anywhere_keeps_its_tombstone(mesh: Mesh) -> None:
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (1, 'one'), (2, 'two')")
    mesh.settle()
    mesh.write(EU, "DELETE FROM note")
    mesh.settle()
    behind_its_back(
        mesh, US, "INSERT INTO fabric.dead_letter (rel, pk, origin, state, reason)"
        " VALUES ('public.note', '{2}', 1, '', 'for the test')",
    )  # fmt: skip
    collected(mesh)
    for region in REGIONS:
        assert mesh.rows(region, "SELECT pk FROM fabric.tombstone") == [(["2"],)]


def test_a_region_with_a_gap_holds_all_tombstones(mesh: Mesh) -> None:
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (1, 'one')")
    mesh.write(EU, "DELETE FROM note")
    mesh.settle()
    behind_its_back(mesh, US, "UPDATE fabric.watermark SET gap = now()")
    with pytest.raises(NotSettled, match="us-east is being repaired, and holds"):
        collected(mesh)
    behind_its_back(mesh, US, "UPDATE fabric.watermark SET gap = NULL")
    assert len(mesh.rows(EU, TOMBSTONES % 1)) == 1
