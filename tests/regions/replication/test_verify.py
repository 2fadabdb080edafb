"""Attacks on `cell verify`: rows corrupted behind the fabric's back are found and mended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from regions.replication import verify
from regions.replication.verification.verdict import Verdict
from tests.regions.replication.looking import (
    DE,
    EU,
    REGIONS,
    US,
    applied,
    behind_its_back,
    ledger,
    look,
    sent,
)
from tests.regions.replication.mesh import Mesh


def test_equal_replicas_are_equal(notes: Mesh) -> None:
    verdict = look(notes)
    assert (verdict.equal, verdict.refusal, verdict.differences) == (True, None, [])
    assert (verdict.tables, verdict.rows, verdict.regions) == (2, 600, REGIONS)  # and that of tasks


@pytest.mark.parametrize(
    ("region", "statement", "reason", "fields"),
    [
        (DE, "UPDATE note SET title = 't78' WHERE id = 77", "differs in title", ("title",)),
        (EU, "UPDATE note SET raw = '\\x00fe' WHERE id = 81", "differs in raw", ("raw",)),
        (US, "UPDATE note SET _stamp = _stamp - 256 WHERE id = 80", "differs in _stamp",
         ("_stamp",)),
        (US, "UPDATE note SET body = NULL WHERE id = 80", "differs in body", ("body",)),
        (US, "UPDATE note SET label = 'NULL' WHERE id = 80", "differs in label", ("label",)),
        (DE, "DELETE FROM note WHERE id = 500", "missing in eu-central", ()),
        (EU, "DELETE FROM note WHERE id = 500", "missing in eu-west", ()),
        (US, "INSERT INTO note (id, title, _born, _stamp) VALUES (5000, 'new', 0, 0)",
         "missing in eu-west, eu-central", ()),
    ],
)  # fmt: skip
def test_one_flipped_byte_one_missing_one_extra_row_is_found_where_it_is_and_mended(
    notes: Mesh, region: str, statement: str, reason: str, fields: tuple[str, ...]
) -> None:
    before = notes.rows(EU if region != EU else DE)
    behind_its_back(notes, region, statement)
    verdict = look(notes)
    (found,) = verdict.differences
    key = statement.partition("id = ")[2] or "5000"
    assert (found.table, found.key, found.reason, found.fields) == (
        "public.note", {"id": key}, reason, fields,
    )  # fmt: skip
    digests = set(found.regions.values())
    assert (len(digests), list(found.regions.values()).count(found.regions[region])) == (2, 1)
    assert (verdict.equal, verdict.found) == (False, 1)
    assert verdict.refusal is not None
    assert "one row differs" in verdict.refusal

    log = sent(notes)
    mended = look(notes, repair=True)
    assert (mended.equal, mended.repaired) == (True, 1), mended.document()
    assert look(notes).equal
    assert sent(notes) == log
    notes.assert_equal()
    if key != "5000":
        assert notes.rows(EU) == before


def test_what_a_replica_loses_is_in_its_ledger_alone(notes: Mesh) -> None:
    behind_its_back(notes, DE, "UPDATE note SET title = 'forged' WHERE id = 77")
    look(notes, repair=True)
    assert ledger(notes, DE) == [
        ("title", "forged", "t77", "repair: most replicas have it"),
    ]
    assert ledger(notes, EU) == ledger(notes, US) == []
    # The same again is another loss, not the first one's repetition.
    behind_its_back(notes, DE, "UPDATE note SET title = 'again' WHERE id = 77")
    look(notes, repair=True)
    assert [row[1] for row in ledger(notes, DE)] == ["again", "forged"] or [
        row[1] for row in ledger(notes, DE)
    ] == ["forged", "again"]


def test_two_rows_that_are_exchanged_or_differ_alike_do_not_cancel_out(notes: Mesh) -> None:
    exchange = (
        "CREATE TEMP TABLE kept AS SELECT * FROM note WHERE id IN (7, 8)",
        "UPDATE note n SET title = k.title FROM kept k WHERE n.id + k.id = 15",
    )
    behind_its_back(notes, US, *exchange)
    assert [one.key for one in look(notes).differences] == [{"id": "7"}, {"id": "8"}]
    behind_its_back(notes, US, "DELETE FROM note WHERE id IN (9, 10)")
    assert look(notes, repair=True).repaired == 4
    notes.assert_equal()


def test_a_lost_update_is_caught_up_with_and_the_old_value_kept(notes: Mesh) -> None:
    stale = notes.rows(DE, "SELECT note::text FROM note WHERE id = 77")[0][0]
    notes.write(US, "UPDATE note SET title = 'newer' WHERE id = 77")
    notes.settle()
    behind_its_back(
        notes, DE,
        "UPDATE note n SET title = o.title, _stamp = o._stamp, _fields = o._fields, _base = o._base"
        f" FROM (SELECT ($${stale}$$::note).*) o WHERE n.id = 77",
    )  # fmt: skip
    verdict = look(notes, repair=True)
    assert verdict.differences[0].reason.endswith("the newest write")
    assert notes.rows(DE, "SELECT title FROM note WHERE id = 77") == [("newer",)]
    assert ledger(notes, DE) == [("title", "t77", "newer", "repair: the newest write")]
    notes.assert_equal()


def test_a_lost_delete_is_judged_by_the_tombstone(notes: Mesh) -> None:
    notes.write(EU, "DELETE FROM note WHERE id = 77")
    row = notes.rows(DE, "SELECT note::text FROM note WHERE id = 77")[0][0]
    notes.settle()
    columns = "id, title, body, votes, doc, _born, _stamp, _fields, _base"
    back = f"INSERT INTO note ({columns}) SELECT {columns} FROM (SELECT ($${row}$$::note).*) o"
    behind_its_back(notes, DE, back, "DELETE FROM fabric.tombstone")
    (found,) = look(notes).differences
    assert found.reason == "deleted, and still there in eu-central"
    assert look(notes, repair=True).equal
    assert notes.rows(DE, "SELECT * FROM note WHERE id = 77") == []
    assert [row[0] for row in notes.rows(DE, "SELECT pk FROM fabric.tombstone")] == [["77"]]
    ((field, loser, winner, rule),) = ledger(notes, DE)
    assert (field, loser["title"], winner) == ("*", "t77", None)
    assert rule == "repair: its deletion is the newest write"
    notes.assert_equal()


def test_a_row_that_was_written_after_its_deletion_is_no_lost_delete(notes: Mesh) -> None:
    notes.write(EU, "DELETE FROM note WHERE id = 77")
    notes.write(EU, "INSERT INTO note (id, title) VALUES (77, 'again')")
    notes.settle()
    behind_its_back(notes, EU, "DELETE FROM note WHERE id = 77")
    assert look(notes).differences[0].reason == "missing in eu-west"
    assert look(notes, repair=True).equal
    assert notes.rows(EU, "SELECT title FROM note WHERE id = 77") == [("again",)]
    notes.assert_equal()


def test_a_stamp_of_the_future_does_not_make_a_forged_value_win(notes: Mesh) -> None:
    behind_its_back(
        notes, DE, "UPDATE note SET title = 'forged', _stamp = _stamp + (1::bigint << 55),"
        " _fields = jsonb_build_object('title', _stamp + (1::bigint << 55)) WHERE id = 77",
    )  # fmt: skip
    assert look(notes, repair=True).equal
    assert notes.rows(DE, "SELECT title FROM note WHERE id = 77") == [("t77",)]


def test_with_two_replicas_the_one_whose_region_wrote_the_value_is_right(notes: Mesh) -> None:
    two = replace(notes.spec, regions=(EU, US))
    # Of the titles EU is the writer, of the votes US.
    behind_its_back(notes, US, "UPDATE note SET title = 'forged', votes = 1 WHERE id = 3")
    behind_its_back(notes, EU, "UPDATE note SET votes = 9 WHERE id = 3")

    async def run() -> Verdict:
        async with applied(notes):
            return await verify.verify(notes.deployment, two, repair=True)

    verdict = notes.loop.run_until_complete(run())
    assert verdict.equal, verdict.document()
    for region in (EU, US):
        assert notes.rows(region, "SELECT title, votes FROM note WHERE id = 3") == [("t3", 1)]


def test_where_nothing_speaks_for_a_side_nothing_is_changed(notes: Mesh) -> None:
    for region in REGIONS:
        behind_its_back(notes, region, f"UPDATE note SET title = '{region}' WHERE id = 77")
    # Whose the value is has another one, and so has everybody: the writer's is taken.
    assert look(notes, repair=True).equal
    for number, region in enumerate((DE, US)):
        behind_its_back(notes, region, f"UPDATE note SET title = '{number}' WHERE id = 77")
    behind_its_back(notes, EU, "DELETE FROM note WHERE id = 77")
    verdict = look(notes, repair=True)
    assert (verdict.equal, verdict.repaired) == (False, 0)
    assert "no replica is better than another about title" in verdict.differences[0].reason
    assert notes.rows(EU, "SELECT * FROM note WHERE id = 77") == []
    behind_its_back(notes, DE, "UPDATE note SET title = '1' WHERE id = 77")
    assert look(notes, repair=True).equal


def test_many_lost_rows_come_back_and_some_of_them_are_named(
    notes: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regions.replication.verification.run.SHOWN", 20)
    behind_its_back(notes, DE, "DELETE FROM note WHERE id > 500")
    verdict = look(notes, repair=True)
    assert (verdict.found, verdict.repaired, verdict.equal) == (100, 100, True)
    assert len(verdict.differences) == 20
    notes.assert_equal()


def test_only_what_differs_is_gone_into(notes: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row of 600: one branch of 256 is read row by row."""
    from regions.replication.verification import digests

    behind_its_back(notes, US, "UPDATE note SET title = '' WHERE id = 77")
    asked: list[int] = []
    leaves = digests.leaves

    def counted(table: Any, tenant: Any, under: Any, depth: int) -> Any:
        asked.append(len(under))
        return leaves(table, tenant, under, depth)

    monkeypatch.setattr(digests, "leaves", counted)
    assert look(notes).found == 1
    assert asked == [1]


@pytest.mark.parametrize(
    "harm", ["DELETE FROM fabric.tombstone", "UPDATE fabric.tombstone SET stamp = stamp - 256"]
)
def test_a_replica_that_does_not_know_of_a_deletion_is_found_and_told(
    notes: Mesh, harm: str
) -> None:
    """An older write of the row would be back there, and nowhere else."""
    notes.write(EU, "DELETE FROM note WHERE id IN (77, 78)")
    notes.settle()
    assert look(notes).equal
    behind_its_back(notes, DE, f"{harm} WHERE pk = '{{77}}'")
    (found,) = look(notes).differences
    assert (found.key, found.reason) == (
        {"id": "77"}, "that it was deleted is not known in eu-central",
    )  # fmt: skip
    mended = look(notes, repair=True)
    assert (mended.equal, mended.repaired) == (True, 1)
    assert look(notes).equal
    # Its row is back, and what may be collected is nobody's concern.
    notes.write(US, "INSERT INTO note (id, title) VALUES (77, 'back')")
    notes.settle()
    behind_its_back(notes, DE, "DELETE FROM fabric.tombstone WHERE pk = '{77}'")
    for region in REGIONS:
        behind_its_back(notes, region, "UPDATE fabric.member SET collected = 1::bigint << 62")
    behind_its_back(notes, US, "DELETE FROM fabric.tombstone WHERE pk = '{78}'")
    assert look(notes).equal
    for region in REGIONS:
        behind_its_back(notes, region, "UPDATE fabric.member SET collected = 0")
