"""A peer has not kept its log for a replica: it is noticed, and the replica has all of it again."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from regions import cells
from regions.deployment import Deployment
from regions.failover.reseeding import Reseeder
from regions.replication import transport
from tests.regions.replication.club import DE, EU, ROWS, Club, founded

GAPS = "SELECT region FROM fabric.watermark WHERE gap IS NOT NULL"


@pytest.fixture
def club(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Club]:
    for name in ("LOOK_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(f"regions.failover.reseeding.{name}", 0.2)
    with founded(deployment) as club:
        yield club


def test_a_replica_whose_slot_was_lost_is_seeded_again_and_loses_nothing_of_its_own(
    club: Club, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt is interrupted when there is a new slot, and nobody reads it."""
    attempts: list[str] = []
    subscribe = Reseeder._subscribe

    def interrupted(self: Reseeder, peer: str) -> None:
        attempts.append(peer)
        if len(attempts) == 1:
            raise psycopg.OperationalError("for the test")
        subscribe(self, peer)

    monkeypatch.setattr(Reseeder, "_subscribe", interrupted)
    club.ask(EU, "INSERT INTO note (id, title) SELECT -n, 'hot' FROM generate_series(1, 50) n")
    club.settle()
    club.rest()
    with cells.administrator(club.deployment, EU, club.spec.database) as admin:
        transport.discard_slot(admin, club.spec, to=DE)
    # What DE will never hear of, and what it has written itself meanwhile.
    club.ask(EU, "INSERT INTO note (id, title) VALUES (-100, 'unheard')")
    club.ask(EU, "UPDATE note SET title = 'unheard' WHERE id = -1")
    club.ask(EU, "DELETE FROM note WHERE id = -2")
    club.ask(DE, "UPDATE note SET votes = 7 WHERE id IN (-1, -3)")
    club.ask(DE, "INSERT INTO note (id, title) VALUES (-200, 'own')")
    club.resting.clear()
    club.until(lambda: club.ask(DE, "SELECT 1 FROM note WHERE id = -100") != [])
    club.until(lambda: club.ask(DE, GAPS) == [])
    assert attempts[:2] == [EU, EU]
    club.settle()
    assert club.ask(DE, ROWS) == club.ask(EU, ROWS)
    found = club.ask(EU, "SELECT id, title, votes FROM note WHERE id IN (-1, -2, -3, -200)"
                         " ORDER BY id")  # fmt: skip
    assert found == [(-200, "own", 0), (-3, "hot", 7), (-1, "unheard", 7)]
    ((by, problem),) = club.ask(DE, "SELECT by, problem FROM fabric.verification"
                                    " ORDER BY id DESC LIMIT 1")  # fmt: skip
    assert (by, problem) == ("reseed:eu-central", None)
    # And it hears what comes.
    club.ask(EU, "UPDATE note SET title = 'on' WHERE id = -1")
    club.settle()
    assert club.ask(DE, "SELECT title FROM note WHERE id = -1") == [("on",)]
