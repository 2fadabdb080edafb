"""Two regions that take one unique value: one winner, the same everywhere, and nothing stalls."""

from __future__ import annotations

from itertools import permutations

import pytest

from regions.replication import letters
from tests.regions.replication.mesh import Mesh

EU, DE, US = REGIONS = ("eu-west", "eu-central", "us-east")
PAIRS = [(sender, receiver) for sender in REGIONS for receiver in REGIONS if sender != receiver]

TABLES = """
CREATE TABLE page (
    id integer PRIMARY KEY, slug varchar(20) UNIQUE, name text, title text
);
CREATE UNIQUE INDEX page_name ON page (lower(name)) WHERE title IS NOT NULL
"""
DECLARED = {"page": {"slug": "rename"}}


def retry(mesh: Mesh) -> None:
    for region in REGIONS:
        mesh.loop.run_until_complete(letters.retry(mesh.appliers[region]))


def rows(mesh: Mesh, table: str) -> list[tuple[object, ...]]:
    """The same in every region, the platform's columns included."""
    first, *others = [mesh.rows(region, f"SELECT * FROM {table} ORDER BY id") for region in REGIONS]
    for other in others:
        assert other == first
    return first


@pytest.mark.parametrize("order", list(permutations(REGIONS)))
def test_the_first_claim_wins_in_whichever_order_things_arrive(
    ruled: Mesh, order: tuple[str, ...]
) -> None:
    for number, region in enumerate(order):
        ruled.write(region, "INSERT INTO note (id, label) VALUES (%s, 'same')", number)
        ruled.write(region, "INSERT INTO note (id, label) VALUES (%s, %s)", number + 10, region)
    ruled.settle()
    assert [row[0] for row in rows(ruled, "note")] == [0, 10, 11, 12]
    for region in REGIONS:
        parked = ruled.rows(region, "SELECT DISTINCT pk FROM fabric.dead_letter ORDER BY pk")
        assert parked == [(["1"],), (["2"],)]
        lost = ruled.rows(region, "SELECT rule, loser ->> 'id' FROM fabric.conflict ORDER BY 2")
        assert lost == [("first claim wins", "1"), ("first claim wins", "2")]


def test_the_loser_comes_back_when_the_value_is_free(ruled: Mesh) -> None:
    for number, region in enumerate(REGIONS):
        ruled.write(region, "INSERT INTO note (id, label) VALUES (%s, 'same')", number)
    ruled.settle()
    ruled.write(EU, "UPDATE note SET label = 'other' WHERE id = 0")
    ruled.settle()
    retry(ruled)
    assert [(row[0], row[4]) for row in rows(ruled, "note")] == [(0, "other"), (1, "same")]
    ruled.write(US, "DELETE FROM note WHERE id = 1")
    ruled.settle()
    retry(ruled)
    assert [(row[0], row[4]) for row in rows(ruled, "note")] == [(0, "other"), (2, "same")]
    for region in REGIONS:
        assert ruled.rows(region, "SELECT * FROM fabric.dead_letter") == []


def test_a_parked_row_that_claimed_first_takes_its_value_back(ruled: Mesh) -> None:
    ruled.write(EU, "INSERT INTO note (id, label) VALUES (1, 'same')")
    ruled.write(DE, "INSERT INTO note (id, label) VALUES (2, 'same')")
    ruled.deliver(EU, US)
    ruled.deliver(DE, US)  # parked there
    ruled.write(EU, "DELETE FROM note WHERE id = 1")
    ruled.deliver(EU, US)
    ruled.write(US, "INSERT INTO note (id, label) VALUES (3, 'same')")
    retry(ruled)
    ruled.settle()
    retry(ruled)
    assert [row[0] for row in rows(ruled, "note")] == [2]


@pytest.mark.parametrize("order", list(permutations(REGIONS)))
def test_a_loser_is_renamed_alike_in_every_region(ruled: Mesh, order: tuple[str, ...]) -> None:
    for number, region in enumerate(order):
        ruled.write(region, "INSERT INTO page (id, slug) VALUES (%s, %s)", number, "a" * 20)
    ruled.settle()
    found = rows(ruled, "page")
    slugs = [str(row[1]) for row in found]
    assert slugs[0] == "a" * 20
    assert {slug[:12] for slug in slugs[1:]} == {"a" * 11 + "-"}
    assert len(set(slugs)) == 3
    for region in REGIONS:
        assert ruled.rows(region, "SELECT * FROM fabric.dead_letter") == []
    # What its region knew before it was renamed does not come back.
    ruled.write(order[2], "UPDATE page SET title = 't' WHERE id = 2")
    ruled.settle()
    assert [row[1] for row in rows(ruled, "page")] == slugs


def test_an_index_on_an_expression_with_a_condition_has_one_winner(ruled: Mesh) -> None:
    ruled.write(EU, "INSERT INTO page (id, name) VALUES (1, 'Same')")
    ruled.write(DE, "INSERT INTO page (id, name, title) VALUES (2, 'SAME', 't')")
    ruled.write(US, "INSERT INTO page (id, name, title) VALUES (3, 'same', 't')")
    ruled.settle()
    assert [row[0] for row in rows(ruled, "page")] == [1, 2]
