"""Replicas whose tables are at different versions, as in the middle of a migration."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from regions.replication import capture, captured, install, letters, transport
from tests.regions.replication.mesh import Mesh

EU, DE, US = "eu-west", "eu-central", "us-east"
ADD = "ALTER TABLE note ADD COLUMN mood varchar(20) NOT NULL DEFAULT 'calm'"


@pytest.fixture(autouse=True)
def as_before(mesh: Mesh):
    yield
    for region in mesh.spec.regions:
        change(mesh, region, "ALTER TABLE note DROP COLUMN IF EXISTS mood")


def change(mesh: Mesh, region: str, statement: str) -> None:
    """As a migration does it: structure and capture in one transaction."""
    with mesh.writers[region].transaction():
        mesh.writers[region].execute(statement)  # type: ignore[arg-type]
        capture.attach(mesh.writers[region], "public")


def retry(mesh: Mesh, region: str) -> int:
    return mesh.loop.run_until_complete(letters.retry(mesh.appliers[region]))


def test_a_field_that_the_receiver_does_not_know_is_parked_and_goes_in_later(mesh: Mesh) -> None:
    change(mesh, EU, ADD)
    mesh.write(EU, "INSERT INTO note (id, title, mood) VALUES (5, 't', 'wild')")
    mesh.write(EU, "INSERT INTO note (id, title, mood) VALUES (6, 'u', 'wild')")
    step = mesh.deliver(EU, DE)
    assert (step.rows, step.parked) == (2, 2)
    reasons = mesh.rows(DE, "SELECT reason FROM fabric.dead_letter")
    assert {"note has no column mood" in row[0] for row in reasons} == {True}
    assert retry(mesh, DE) == 0
    for region in (DE, US):
        change(mesh, region, ADD)
    assert retry(mesh, DE) == 2
    mesh.settle()
    assert mesh.rows(DE, "SELECT mood FROM note") == [("wild",), ("wild",)]
    mesh.assert_equal()


def test_letters_are_tried_by_turns_when_there_is_no_time_for_all_at_once(mesh: Mesh) -> None:
    change(mesh, EU, ADD)
    for number in (5, 6, 7):
        mesh.write(EU, "INSERT INTO note (id, title, mood) VALUES (%s, 't', 'wild')", number)
    assert mesh.deliver(EU, DE).parked == 3

    def one_turn() -> int:
        return mesh.loop.run_until_complete(letters.retry(mesh.appliers[DE], seconds=0))

    assert one_turn() == 0
    for region in (DE, US):
        change(mesh, region, ADD)
    assert [one_turn() for _ in range(4)] == [1, 1, 1, 0]
    mesh.settle()
    mesh.assert_equal()


def test_rows_of_a_sender_that_lacks_a_field_get_its_default_or_keep_its_value(mesh: Mesh) -> None:
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (5, 't')")
    mesh.settle()
    change(mesh, EU, ADD)
    mesh.write(EU, "UPDATE note SET mood = 'wild' WHERE id = 5")
    mesh.write(DE, "UPDATE note SET title = 'new title' WHERE id = 5")
    mesh.write(DE, "INSERT INTO note (id, title) VALUES (6, 'late')")
    mesh.deliver(DE, EU)
    found = mesh.rows(EU, "SELECT id, title, mood FROM note ORDER BY id")
    assert found == [(5, "new title", "wild"), (6, "late", "calm")]
    for region in (DE, US):
        change(mesh, region, ADD)
    mesh.deliver(EU, DE)
    mesh.settle()
    mesh.assert_equal()
    for region in mesh.spec.regions:
        assert mesh.rows(region, "SELECT * FROM fabric.dead_letter") == []
        assert mesh.rows(region, "SELECT * FROM fabric.conflict") == []


def test_what_postgresql_generates_is_no_unknown_field(mesh: Mesh) -> None:
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (5, 'four')")
    assert mesh.deliver(EU, DE).parked == 0
    assert mesh.rows(DE, "SELECT size FROM note") == [(4,)]


def test_attaching_again_changes_nothing_and_a_new_column_only_what_knows_it(mesh: Mesh) -> None:
    session = mesh.writers[EU]
    known = captured.read_captured(session, "public")
    assert capture.lacking(known, "public", tenant="") == []
    session.execute("ALTER TABLE note ADD COLUMN mood text")
    found = capture.lacking(captured.read_captured(session, "public"), "public", tenant="")
    assert [statement.split()[:3] for statement in found] == [["INSERT", "INTO", "fabric.relation"]]


# What puts rows into the log: how it names their columns, and how it did.
WRITES = {
    "capture_write": ("fabric.names_at_hand()", "fabric.names_at_hand()::text[]"),
    "log_rows": ("a.attnum)::text", "a.attnum)"),
}


@pytest.fixture
def earlier(mesh: Mesh) -> Iterator[None]:
    """A writer whose entries have an array where this version's have its text."""
    published = ", ".join(install.PUBLISHED).replace("names", "columns")
    with mesh.administrator(EU) as admin:
        definition = "SELECT pg_get_functiondef(%s::regproc)"
        for name, (now, then) in WRITES.items():
            ((ours,),) = admin.execute(definition, (f"fabric.{name}",)).fetchall()
            assert ours.count("names, rows)") == ours.count(now) == 1
            theirs = ours.replace("names, rows)", "columns, rows)").replace(now, then)
            admin.execute(theirs)
        admin.execute(f"ALTER PUBLICATION fabric SET TABLE fabric.change ({published})".encode())
    yield
    lay(mesh)


def lay(mesh: Mesh) -> None:
    with mesh.administrator(EU) as admin:
        install.become_owner(admin)
        install.in_one_go(admin, lambda: install.lay(admin))


def test_what_an_earlier_version_wrote_for_a_peer_that_is_away_arrives_after_an_upgrade(
    mesh: Mesh, earlier: None
) -> None:
    name = transport.subscription_name(mesh.spec, EU)
    with mesh.administrator(US) as admin:
        admin.execute(f"ALTER SUBSCRIPTION {name} DISABLE".encode())
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (5, 'earlier'), (6, 'at that time')")
    mesh.write(EU, "UPDATE note SET title = 'then' WHERE id = 5")
    lay(mesh)
    mesh.write(EU, "UPDATE note SET body = 'now' WHERE id = 5")
    mesh.write(EU, "UPDATE note SET votes = 1 WHERE id = 6")
    kinds = "SELECT columns IS NULL, names IS NULL FROM fabric.change WHERE rel IS NOT NULL"
    theirs, ours = (False, True), (True, False)
    assert mesh.rows(EU, f"{kinds} ORDER BY seq")[-4:] == [theirs, theirs, ours, ours]
    with mesh.administrator(US) as admin:
        admin.execute(f"ALTER SUBSCRIPTION {name} ENABLE".encode())
    mesh.settle()
    assert mesh.rows(US, f"{kinds} ORDER BY arrival")[-4:] == [theirs, theirs, ours, ours]
    assert mesh.rows(US, "SELECT title, body, votes FROM note ORDER BY id") == [
        ("then", "now", 0),
        ("at that time", None, 1),
    ]
    mesh.assert_equal()
    assert mesh.parked() == []
