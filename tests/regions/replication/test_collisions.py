"""Two regions that take one unique value: one winner, the same everywhere, and nothing stalls."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import pytest

from regions.replication import capture, letters
from tests.regions.replication.mesh import Mesh

EU, DE, US = REGIONS = ("eu-west", "eu-central", "us-east")
PAIRS = [(sender, receiver) for sender in REGIONS for receiver in REGIONS if sender != receiver]

TABLE = """
CREATE TABLE page (
    id integer PRIMARY KEY, slug varchar(20) UNIQUE, name text, title text
);
CREATE UNIQUE INDEX page_name ON page (lower(name)) WHERE title IS NOT NULL
"""
DECLARED = {"page": {"slug": "rename"}}


@pytest.fixture(scope="module")
def pages_session(mesh_session: Mesh) -> Iterator[Mesh]:
    for writer in mesh_session.writers.values():
        writer.execute(TABLE)
        capture.attach(writer, "public")
    yield mesh_session
    for writer in mesh_session.writers.values():
        writer.execute("DROP TABLE page; DELETE FROM fabric.relation WHERE rel = 'public.page'")


@pytest.fixture
def pages(pages_session: Mesh, mesh: Mesh) -> Iterator[Mesh]:
    yield pages_session
    mesh.settle()
    for writer in mesh.writers.values():
        writer.execute("TRUNCATE page, note, fabric.conflict, fabric.tombstone, fabric.dead_letter")


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
    pages: Mesh, order: tuple[str, ...]
) -> None:
    for number, region in enumerate(order):
        pages.write(region, "INSERT INTO note (id, label) VALUES (%s, 'same')", number)
        pages.write(region, "INSERT INTO note (id, label) VALUES (%s, %s)", number + 10, region)
    pages.settle()
    assert [row[0] for row in rows(pages, "note")] == [0, 10, 11, 12]
    for region in REGIONS:
        parked = pages.rows(region, "SELECT DISTINCT pk FROM fabric.dead_letter ORDER BY pk")
        assert parked == [(["1"],), (["2"],)]
        lost = pages.rows(region, "SELECT rule, loser ->> 'id' FROM fabric.conflict ORDER BY 2")
        assert lost == [("first claim wins", "1"), ("first claim wins", "2")]


def test_the_loser_comes_back_when_the_value_is_free(pages: Mesh) -> None:
    for number, region in enumerate(REGIONS):
        pages.write(region, "INSERT INTO note (id, label) VALUES (%s, 'same')", number)
    pages.settle()
    pages.write(EU, "UPDATE note SET label = 'other' WHERE id = 0")
    pages.settle()
    retry(pages)
    assert [(row[0], row[4]) for row in rows(pages, "note")] == [(0, "other"), (1, "same")]
    pages.write(US, "DELETE FROM note WHERE id = 1")
    pages.settle()
    retry(pages)
    assert [(row[0], row[4]) for row in rows(pages, "note")] == [(0, "other"), (2, "same")]
    for region in REGIONS:
        assert pages.rows(region, "SELECT * FROM fabric.dead_letter") == []


def test_a_parked_row_that_claimed_first_takes_its_value_back(pages: Mesh) -> None:
    pages.write(EU, "INSERT INTO note (id, label) VALUES (1, 'same')")
    pages.write(DE, "INSERT INTO note (id, label) VALUES (2, 'same')")
    pages.deliver(EU, US)
    pages.deliver(DE, US)  # parked there
    pages.write(EU, "DELETE FROM note WHERE id = 1")
    pages.deliver(EU, US)
    pages.write(US, "INSERT INTO note (id, label) VALUES (3, 'same')")
    retry(pages)
    pages.settle()
    retry(pages)
    assert [row[0] for row in rows(pages, "note")] == [2]


@pytest.mark.parametrize("order", list(permutations(REGIONS)))
def test_a_loser_is_renamed_alike_in_every_region(pages: Mesh, order: tuple[str, ...]) -> None:
    for number, region in enumerate(order):
        pages.write(region, "INSERT INTO page (id, slug) VALUES (%s, %s)", number, "a" * 20)
    pages.settle()
    found = rows(pages, "page")
    slugs = [str(row[1]) for row in found]
    assert slugs[0] == "a" * 20
    assert {slug[:12] for slug in slugs[1:]} == {"a" * 11 + "-"}
    assert len(set(slugs)) == 3
    for region in REGIONS:
        assert pages.rows(region, "SELECT * FROM fabric.dead_letter") == []
    # What its region knew before it was renamed does not come back.
    pages.write(order[2], "UPDATE page SET title = 't' WHERE id = 2")
    pages.settle()
    assert [row[1] for row in rows(pages, "page")] == slugs


def test_an_index_on_an_expression_with_a_condition_has_one_winner(pages: Mesh) -> None:
    pages.write(EU, "INSERT INTO page (id, name) VALUES (1, 'Same')")
    pages.write(DE, "INSERT INTO page (id, name, title) VALUES (2, 'SAME', 't')")
    pages.write(US, "INSERT INTO page (id, name, title) VALUES (3, 'same', 't')")
    pages.settle()
    assert [row[0] for row in rows(pages, "page")] == [1, 2]
