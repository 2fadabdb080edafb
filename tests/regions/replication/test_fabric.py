"""Capture, transport and apply between three real servers."""

from __future__ import annotations

import psycopg
import pytest

from tests.regions.replication.mesh import Mesh

EU, DE, US = "eu-west", "eu-central", "us-east"


def test_an_insert_an_update_and_a_delete_reach_every_replica(mesh: Mesh) -> None:
    mesh.write(EU, "INSERT INTO note (title, label) VALUES ('a', 'x'), ('b', 'y')")
    mesh.write(EU, "UPDATE note SET votes = votes + 1 WHERE title = 'a'")
    mesh.write(EU, "DELETE FROM note WHERE title = 'b'")
    mesh.settle()
    assert [(row[1], row[3]) for row in mesh.rows(US)] == [("a", 1)]
    mesh.assert_equal()


def test_regions_draw_different_numbers(mesh: Mesh) -> None:
    ids = {
        region: mesh.write(region, "INSERT INTO note (title) VALUES ('n') RETURNING id")[0][0]
        for region in (EU, DE, US)
    }
    assert {region: number % 32 for region, number in ids.items()} == {EU: 1, DE: 2, US: 3}
    mesh.settle()
    mesh.assert_equal()


def test_concurrent_updates_of_different_fields_both_survive(mesh: Mesh) -> None:
    mesh.write(EU, "INSERT INTO note (id, title, body) VALUES (5, 't', 'b')")
    mesh.settle()
    mesh.write(EU, "UPDATE note SET title = 'from eu' WHERE id = 5")
    mesh.write(US, "UPDATE note SET body = 'from us' WHERE id = 5")
    mesh.settle()
    mesh.assert_equal()
    assert [row[1:3] for row in mesh.rows(DE)] == [("from eu", "from us")]
    assert mesh.rows(DE, "SELECT * FROM fabric.conflict") == []


def test_of_concurrent_updates_of_one_field_the_later_wins_and_the_other_is_in_the_ledger(
    mesh: Mesh,
) -> None:
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (5, 't')")
    mesh.settle()
    mesh.write(EU, "UPDATE note SET title = 'earlier' WHERE id = 5")
    mesh.write(US, "UPDATE note SET title = 'later' WHERE id = 5")
    mesh.settle()
    mesh.assert_equal()
    assert [row[1] for row in mesh.rows(EU)] == ["later"]
    ledger = "SELECT field, loser, winner FROM fabric.conflict"
    for region in (EU, US):
        assert mesh.rows(region, ledger) == [("title", "earlier", "later")]


def test_a_field_that_was_knowingly_replaced_is_no_conflict(mesh: Mesh) -> None:
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (5, 'one')")
    mesh.write(EU, "UPDATE note SET title = 'two' WHERE id = 5")
    mesh.settle()
    mesh.write(US, "UPDATE note SET title = 'three' WHERE id = 5")
    mesh.write(US, "UPDATE note SET title = 'four' WHERE id = 5")
    mesh.settle()
    mesh.assert_equal()
    for region in (EU, DE, US):
        assert mesh.rows(region, "SELECT * FROM fabric.conflict") == []


def test_a_value_whose_winner_a_third_region_brought_first_is_in_the_ledger(mesh: Mesh) -> None:
    """With its row; then the loser's region goes on from the winner, before anybody else heard of
    the loser."""
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (5, 't')")
    mesh.settle()
    mesh.write(US, "UPDATE note SET title = 'earlier' WHERE id = 5")
    mesh.write(EU, "UPDATE note SET title = 'later' WHERE id = 5")
    mesh.deliver(EU, DE)
    mesh.write(DE, "UPDATE note SET body = 'b' WHERE id = 5")
    mesh.deliver(DE, US)
    mesh.write(US, "UPDATE note SET title = title || ' still' WHERE id = 5")
    mesh.settle()
    mesh.assert_equal()
    assert [row[1] for row in mesh.rows(EU)] == ["later still"]
    losers = mesh.rows(US, "SELECT loser, winner FROM fabric.conflict WHERE field = 'title'")
    assert losers == [("earlier", "later")]


def test_what_a_third_region_brings_is_no_conflict_of_its_own(mesh: Mesh) -> None:
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (5, 'one')")
    mesh.settle()
    mesh.write(EU, "UPDATE note SET title = 'two' WHERE id = 5")
    mesh.deliver(EU, DE)
    mesh.write(DE, "UPDATE note SET body = 'b' WHERE id = 5")
    mesh.deliver(DE, US)
    mesh.settle()
    mesh.assert_equal()
    for region in (EU, DE, US):
        assert mesh.rows(region, "SELECT * FROM fabric.conflict") == []


def test_an_update_that_arrives_before_its_insert_is_not_lost(mesh: Mesh) -> None:
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (5, 'one')")
    mesh.deliver(EU, DE)
    mesh.write(DE, "UPDATE note SET title = 'two' WHERE id = 5")
    mesh.deliver(DE, US)
    mesh.deliver(EU, US)
    assert [row[1] for row in mesh.rows(US)] == ["two"]
    mesh.settle()
    mesh.assert_equal()


def test_a_delete_that_arrives_before_its_insert_leaves_no_zombie(mesh: Mesh) -> None:
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (5, 'one')")
    mesh.deliver(EU, DE)
    mesh.write(DE, "DELETE FROM note WHERE id = 5")
    mesh.deliver(DE, US)
    mesh.deliver(EU, US)
    assert mesh.rows(US) == []
    mesh.settle()
    mesh.assert_equal()


def test_a_later_update_survives_an_earlier_delete_with_the_whole_row(mesh: Mesh) -> None:
    mesh.write(EU, "INSERT INTO note (id, title, body) VALUES (5, 't', 'b')")
    mesh.settle()
    mesh.write(EU, "DELETE FROM note WHERE id = 5")
    mesh.write(US, "UPDATE note SET title = 'kept' WHERE id = 5")
    mesh.settle()
    mesh.assert_equal()
    assert [row[1:3] for row in mesh.rows(EU)] == [("kept", "b")]


def test_a_revived_row_has_the_newest_value_of_each_field_everywhere(mesh: Mesh) -> None:
    mesh.write(EU, "INSERT INTO note (id, title, body) VALUES (5, 't', 'b')")
    mesh.settle()
    mesh.write(DE, "UPDATE note SET title = 'from de' WHERE id = 5")
    mesh.write(EU, "DELETE FROM note WHERE id = 5")
    mesh.write(US, "UPDATE note SET body = 'from us' WHERE id = 5")
    mesh.deliver(DE, EU)
    mesh.deliver(US, EU)
    mesh.settle()
    mesh.assert_equal()
    assert [row[1:3] for row in mesh.rows(EU)] == [("from de", "from us")]


def test_a_later_delete_wins_over_an_update_and_the_update_is_in_the_ledger(mesh: Mesh) -> None:
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (5, 't')")
    mesh.settle()
    mesh.write(US, "UPDATE note SET title = 'lost' WHERE id = 5")
    mesh.write(EU, "DELETE FROM note WHERE id = 5")
    mesh.settle()
    mesh.assert_equal()
    assert mesh.rows(EU) == []
    assert mesh.rows(US, "SELECT rule, loser ->> 'title' FROM fabric.conflict") == [
        ("later delete wins", "lost")
    ]


def test_delete_and_insert_of_one_key_in_one_transaction_is_a_new_row(mesh: Mesh) -> None:
    mesh.write(EU, "INSERT INTO note (id, title, body) VALUES (5, 'old', 'b')")
    mesh.settle()
    with mesh.writers[EU].transaction():
        mesh.write(EU, "DELETE FROM note WHERE id = 5")
        mesh.write(EU, "INSERT INTO note (id, title) VALUES (5, 'new')")
    mesh.settle()
    mesh.assert_equal()
    assert [row[1:3] for row in mesh.rows(US)] == [("new", None)]


def test_values_of_many_types_arrive_as_they_were(mesh: Mesh) -> None:
    mesh.write(
        EU,
        "INSERT INTO note (id, title, amount, at, raw, doc, items) VALUES"
        r" (5, 'æ''\"', 'NaN', 'infinity', '\x00ff', '{\"a\": [1, null]}', '{1,NULL,3}'),"
        " (6, NULL, 1.230, '0044-03-15 BC', '', '[]', '{}')".replace(r"\"", '"'),
    )
    mesh.settle()
    as_text = "SELECT note::text FROM note ORDER BY id"
    assert mesh.rows(EU, as_text) == mesh.rows(US, as_text) == mesh.rows(DE, as_text)


def test_a_row_that_cannot_be_applied_is_parked_and_the_rest_goes_on(mesh: Mesh) -> None:
    mesh.write(EU, "INSERT INTO note (id, title, label) VALUES (5, 'eu', 'same')")
    mesh.write(US, "INSERT INTO note (id, title, label) VALUES (6, 'us', 'same')")
    mesh.write(US, "INSERT INTO note (id, title) VALUES (7, 'next')")
    step = mesh.deliver(US, EU)
    assert step.parked == 1
    assert [row[0] for row in mesh.rows(EU)] == [5, 7]
    (reason,) = mesh.rows(EU, "SELECT reason FROM fabric.dead_letter")[0]
    assert reason.startswith("23505: duplicate key")
    assert "same" not in reason


def test_a_transaction_is_stamped_once_and_its_rows_arrive_together(mesh: Mesh) -> None:
    with mesh.writers[EU].transaction():
        mesh.write(EU, "INSERT INTO note (id, title) VALUES (5, 'a')")
        mesh.write(EU, "INSERT INTO note (id, title) VALUES (6, 'b')")
    stamps = mesh.rows(EU, "SELECT DISTINCT _stamp FROM note")
    assert len(stamps) == 1
    assert mesh.deliver(EU, US).rows == 2


def test_a_replica_without_a_live_lease_refuses_the_write(mesh: Mesh) -> None:
    mesh.write(DE, "UPDATE fabric.gate SET valid_until = '-infinity'")
    try:
        with pytest.raises(psycopg.Error, match="may not be written in region eu-central") as info:
            mesh.write(DE, "INSERT INTO note (title) VALUES ('no')")
        assert info.value.sqlstate == "MDF01"
    finally:
        mesh.write(DE, "UPDATE fabric.gate SET valid_until = 'infinity'")


def test_a_transaction_that_outlives_the_lease_does_not_commit(mesh: Mesh) -> None:
    mesh.write(DE, "UPDATE fabric.gate SET valid_until = clock_timestamp() + interval '150 ms'")
    try:
        with (
            pytest.raises(psycopg.Error, match="may not be written") as info,
            mesh.writers[DE].transaction(),
        ):
            mesh.write(DE, "INSERT INTO note (title) VALUES ('slow')")
            mesh.write(DE, "SELECT pg_sleep(0.3)")
        assert info.value.sqlstate == "MDF01"
        assert mesh.rows(DE) == []
    finally:
        mesh.write(DE, "UPDATE fabric.gate SET valid_until = 'infinity'")


def test_a_transaction_does_not_commit_under_another_epoch(mesh: Mesh) -> None:
    with (
        pytest.raises(psycopg.Error, match="changed hands") as info,
        mesh.writers[DE].transaction(),
    ):
        mesh.write(DE, "INSERT INTO note (title) VALUES ('slow')")
        mesh.write(DE, "UPDATE fabric.gate SET epoch = epoch + 1")
    assert info.value.sqlstate == "MDF01"


def test_a_value_is_not_passed_over_because_its_row_has_a_later_stamp_from_elsewhere(
    mesh: Mesh,
) -> None:
    """Both regions' rows have the same stamp by then, and not the same fields."""
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (5, 't')")
    mesh.settle()
    mesh.write(DE, "UPDATE note SET title = 'unheard' WHERE id = 5")
    mesh.write(EU, "UPDATE note SET body = 'b' WHERE id = 5")
    mesh.deliver(EU, DE)
    mesh.write(EU, "UPDATE note SET title = 'later' WHERE id = 5")
    mesh.deliver(EU, DE)
    mesh.write(DE, "UPDATE note SET title = title || ' still' WHERE id = 5")
    mesh.settle()
    mesh.assert_equal()
    losers = mesh.rows(DE, "SELECT loser, winner FROM fabric.conflict WHERE field = 'title'")
    assert losers == [("unheard", "later")]


def test_nor_is_it_deleted_without_a_record(mesh: Mesh) -> None:
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (5, 't')")
    mesh.settle()
    mesh.write(DE, "UPDATE note SET title = 'unheard' WHERE id = 5")
    mesh.write(EU, "UPDATE note SET body = 'b' WHERE id = 5")
    mesh.deliver(EU, DE)
    mesh.write(EU, "DELETE FROM note WHERE id = 5")
    mesh.settle()
    mesh.assert_equal()
    losers = mesh.rows(DE, "SELECT rule, loser ->> 'title' FROM fabric.conflict")
    assert losers == [("later delete wins", "unheard")]


def test_what_is_changed_and_deleted_at_one_go_by_one_region_is_no_conflict(mesh: Mesh) -> None:
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (5, 't')")
    mesh.settle()
    mesh.write(EU, "UPDATE note SET title = 'u' WHERE id = 5")
    mesh.write(EU, "DELETE FROM note WHERE id = 5")
    mesh.settle()
    mesh.assert_equal()
    for region in (EU, DE, US):
        assert mesh.rows(region, "SELECT * FROM fabric.conflict") == []
