"""A replica joins a cell under load, and leaves it: nothing lost, nothing doubled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from regions import cells, membership
from regions.deployment import Deployment
from regions.errors import NotSettled
from regions.replication import seeding
from tests.regions.replication.club import DE, EU, ROWS, US, Club, founded


@pytest.fixture(scope="module")
def founded_club(deployment: Deployment) -> Iterator[Club]:
    with founded(deployment) as club:
        yield club


@pytest.fixture
def club(founded_club: Club) -> Iterator[Club]:
    """In two regions, with rows: some that are deleted in the course of the test."""
    club = founded_club
    club.ask(EU, "INSERT INTO note (id, title) SELECT -n, 'hot' FROM generate_series(1, 64) n")
    club.ask(DE, "INSERT INTO note (id, title) SELECT -n, 'gone' FROM generate_series(65, 2000) n")
    yield club
    if US in club.spec.regions:
        club.leave(US)
    club.ask(EU, "DELETE FROM note")
    club.settle()


def assert_equal(club: Club) -> None:
    club.settle()
    first, *others = [club.ask(region, ROWS) for region in club.spec.regions]
    for other in others:
        assert other == first
    for region in club.spec.regions:
        assert club.ask(region, "SELECT reason FROM fabric.dead_letter") == []


def test_a_replica_joins_under_load_is_not_written_before_and_has_everything_once(
    club: Club, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    copy = seeding.copy

    def look(*args: Any, **options: Any) -> int:
        with pytest.raises(psycopg.Error, match="may not be written") as refused:
            club.ask(US, "INSERT INTO note (title) VALUES ('too soon')")
        seen.append(str(refused.value.diag.message_hint))
        return copy(*args, **options)

    monkeypatch.setattr(seeding, "copy", look)
    with club.writing() as done:
        club.join(US)
    assert seen == ["This replica is being seeded: send the write to the edge."]
    assert_equal(club)
    kept = [row[0] for row in club.ask(US, "SELECT id FROM note WHERE title = 'kept' ORDER BY id")]
    assert kept == sorted(done[EU] + done[DE])
    ((number,),) = club.ask(US, "INSERT INTO note (title) VALUES ('new') RETURNING id")
    assert number % 32 == club.deployment.region(US).node


def test_what_was_deleted_or_could_not_be_applied_is_known_to_the_new_replica(
    club: Club, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regions.failover.replica.DEAD_LETTER_SECONDS", 0.1)
    club.settle()
    with club.session(EU) as eu, club.session(DE) as de, eu.transaction(), de.transaction():
        for session in (eu, de):
            session.execute("INSERT INTO note (title, label) VALUES ('claim', 'one')")
    club.ask(EU, "DELETE FROM note WHERE id = -70")
    club.ask(EU, "UPDATE fabric.member SET log_budget = 900000000, verify_every = '6 hours'")
    club.settle()
    club.join(US)
    for what in ("SELECT rel, pk, stamp FROM fabric.tombstone WHERE pk = '{-70}'",
                 "SELECT verify_every, log_budget, over_budget FROM fabric.member",
                 "SELECT rel, pk, state FROM fabric.dead_letter",
                 "SELECT id, field, rule FROM fabric.conflict ORDER BY id"):  # fmt: skip
        assert club.ask(US, what) == club.ask(EU, what) != []
    club.ask(US, "DELETE FROM note WHERE label = 'one'")
    letters = "SELECT 1 FROM fabric.dead_letter"
    club.until(lambda: not any(club.ask(region, letters) for region in club.spec.regions))
    assert_equal(club)


def test_a_join_that_fails_leaves_nothing_and_one_that_was_killed_is_begun_again(
    club: Club, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [club.links(region) for region in (EU, DE, US)]
    monkeypatch.setattr(membership, "_catch_up", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        club.join(US)
    assert [club.links(region) for region in (EU, DE, US)] == before
    with cells.administrator(club.deployment, US) as admin:
        assert not cells.database_exists(admin, club.spec.database)

    with monkeypatch.context() as killed:
        killed.setattr(membership, "part", lambda *_: None)
        with pytest.raises(ZeroDivisionError):
            club.join(US)
    assert len(club.links(EU)) == len(before[0]) + 2
    monkeypatch.undo()
    club.join(US)
    assert_equal(club)


def test_a_replica_leaves_under_load_when_the_others_have_all_of_it_and_not_before(
    club: Club, monkeypatch: pytest.MonkeyPatch
) -> None:
    club.join(US)
    club.settle()
    with monkeypatch.context() as silent:
        club.rest()
        silent.setattr(membership, "PATIENCE_SECONDS", 0.2)
        with pytest.raises(NotSettled, match="does not catch up with us-east"):
            club.leave(US)
        club.resting.clear()
    assert US in club.spec.regions

    before = club.links(EU)
    with club._threads(done := {}):
        club.until(lambda: len(done[US]) > 20)
        club.leave(US)
    assert_equal(club)
    kept = {row[0] for row in club.ask(EU, "SELECT id FROM note WHERE title = 'kept'")}
    assert set(done[US]) <= kept
    assert kept >= {number for region in (EU, DE) for number in done[region]}
    assert len(before) - len(club.links(EU)) == 2
    # It comes back under the same number: what it writes is news to everybody.
    club.join(US)
    club.ask(US, "UPDATE note SET title = 'back' WHERE id = -1")
    assert_equal(club)
    assert club.ask(EU, "SELECT title FROM note WHERE id = -1") == [("back",)]


def test_the_nearest_lawful_peer_is_asked(deployment: Deployment) -> None:
    assert membership.nearest(deployment, (US, DE), EU) == (DE, US)
    assert membership.nearest(deployment, (US, EU), US)[0] == US
