"""A step takes whole source transactions, and reads no more of what waits than it takes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from psycopg import sql

from regions.replication import apply
from tests.regions.replication.looking import DE, EU
from tests.regions.replication.mesh import Mesh

SMALL = 4  # entries a step


@pytest.fixture
def in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    text = re.sub(rf"\b{apply.BATCH}\b", str(SMALL), apply._NEXT.as_string())
    monkeypatch.setattr(apply, "_NEXT", sql.SQL(text))  # type: ignore[arg-type]
    monkeypatch.setattr(apply, "BATCH", SMALL)


def write_transactions(mesh: Mesh, *sizes: int) -> None:
    """Each of so many statements, an entry each; their rows are numbered through."""
    number = 0
    for size in sizes:
        with mesh.writers[EU].transaction():
            for _ in range(size):
                number += 1
                mesh.write(EU, "INSERT INTO note (id) VALUES (%s)", number)
    mesh.await_inbox(EU, DE)


def step(mesh: Mesh) -> int:
    """How many rows DE has afterwards."""
    mesh.loop.run_until_complete(apply.step(mesh.appliers[DE], mesh.node(EU)))
    ((number,),) = mesh.rows(DE, "SELECT count(*) FROM note")
    return int(number)


def entries_read(mesh: Mesh, query: Any, *params: object) -> int:
    """By the steps of its plan that read the log."""
    explain = sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) ") + (
        query if isinstance(query, sql.Composable) else sql.SQL(query)
    )
    ((((plan,)),),) = mesh.loop.run_until_complete(mesh.appliers[DE].fetch(explain, params))
    return _rows(plan["Plan"])


def _rows(node: dict[str, Any]) -> int:
    own = 0
    if node.get("Relation Name") == "change" or node.get("Index Name") == "change_arrived":
        own = int(node["Actual Rows"] * node["Actual Loops"])
        own += int(node.get("Rows Removed by Filter", 0) * node["Actual Loops"])
    return own + sum(map(_rows, node.get("Plans", ())))


@pytest.mark.usefixtures("in_small_steps")
def test_a_transaction_that_begins_in_a_step_ends_in_it(mesh: Mesh) -> None:
    write_transactions(mesh, 2, 5, 1, 2, 3)
    assert [step(mesh) for _ in range(3)] == [7, 13, 13]


@pytest.mark.usefixtures("in_small_steps")
def test_the_last_transaction_of_all_is_taken_whole_too(mesh: Mesh) -> None:
    write_transactions(mesh, 3, 6)
    assert step(mesh) == 9


@pytest.mark.usefixtures("in_small_steps")
def test_the_watermark_covers_what_a_step_takes_beyond_its_size(mesh: Mesh) -> None:
    write_transactions(mesh, 3, 6)
    step(mesh)
    node = mesh.node(EU)
    written = f"SELECT max(seq), max(stamp) FROM fabric.change WHERE origin = {node} AND size > 0"
    ((seq, stamp),) = mesh.rows(EU, written)
    reached = f"SELECT seq >= {seq}, stamp >= {stamp} FROM fabric.watermark WHERE origin = {node}"
    assert mesh.rows(DE, reached) == [(True, True)]


@pytest.mark.usefixtures("in_small_steps")
def test_what_waits_behind_a_step_is_not_read_for_it(mesh: Mesh) -> None:
    write_transactions(mesh, *([2] * 200))
    origin = mesh.node(EU)
    ((low, _, _, high, *_),) = mesh.loop.run_until_complete(
        mesh.appliers[DE].fetch(apply._NEXT, (origin,))
    )
    assert high > low
    assert entries_read(mesh, apply._NEXT, origin) <= SMALL + 1
    assert entries_read(mesh, apply._END, origin, high) <= SMALL + 1


def test_of_several_changes_to_a_field_in_one_step_the_first_says_what_was_seen(mesh: Mesh) -> None:
    """They follow on what DE has, so that nothing of DE's is lost with it."""
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (1, 'first')")
    mesh.settle()
    for title in ("second", "third"):
        mesh.write(EU, "UPDATE note SET title = %s WHERE id = 1", title)
    mesh.await_inbox(EU, DE)
    step(mesh)
    assert mesh.rows(DE, "SELECT title FROM note") == [("third",)]
    assert mesh.rows(DE, "SELECT * FROM fabric.conflict") == []
