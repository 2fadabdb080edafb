"""A log budget: what a region keeps for another has an end, declared, and nothing is lost by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regions import cells
from regions.deployment import Deployment
from regions.replication import transport
from regions.replication.budget import SLOWEST_MS, Budget, Over, Owed, paused, press
from regions.replication.status import cell_status
from tenants.doctor import room
from tests.regions.replication.club import DE, EU, ROWS, Club, founded

BUDGET = 2_000_000
PRESSED = "SELECT pressed, slowed_ms FROM fabric.gate"
PAUSED = "SELECT region FROM fabric.watermark WHERE paused IS NOT NULL"
BIG = "INSERT INTO note (title) SELECT repeat(md5(n::text), 600) FROM generate_series(1, 5) n"

peers = st.lists(
    st.builds(Owed, st.sampled_from("abc"), st.integers(0, 300), st.booleans()),
    unique_by=lambda owed: owed.region,
)


@given(peers, st.sampled_from(Over))
def test_writers_are_slowed_before_they_are_refused_and_nobody_who_reads_is_let_go(
    peers: list[Owed], over: Over
) -> None:
    found = press(Budget(100, over), peers)
    most = max((owed.log_bytes for owed in peers), default=0)
    assert (found.warning is not None) == (most > 50)
    if over is Over.LET_GO:
        assert found.reason is None
        assert set(found.let_go) == {p.region for p in peers if p.log_bytes > 100 and not p.reading}
    else:
        assert found.let_go == ()
        assert (found.reason is not None) == (most > 50)
        assert found.slowed_ms is None or 0 < found.slowed_ms <= SLOWEST_MS
        assert (found.reason is not None and found.slowed_ms is None) == (most > 100)


@given(st.integers(0, 300), st.booleans())
def test_a_pause_ends_at_half_of_the_budget(waiting: int, before: bool) -> None:
    now = frozenset({"a"}) if before else frozenset()
    after = paused(Budget(100, Over.REFUSE), {"a": waiting}, now)
    assert bool(after) == (waiting > (50 if before else 100))


@pytest.fixture(scope="module")
def club(deployment: Deployment) -> Iterator[Club]:
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "reseeding.LOOK_SECONDS",
            "reseeding.RETRY_SECONDS",
            "throttling.LOOK_SECONDS",
        ):
            patch.setattr(f"regions.failover.{name}", 0.2)
        with founded(deployment) as club:
            yield club


def declare(club: Club, over: Over) -> None:
    for region in (EU, DE):
        club.ask(region, f"UPDATE fabric.member SET log_budget = {BUDGET}, over_budget = '{over}'")


def hearing(club: Club, *, from_eu: bool) -> None:
    """Whether the link from EU to DE carries anything."""
    with cells.administrator(club.deployment, DE, club.spec.database) as admin:
        name = transport.subscription_name(club.spec, EU)
        how = "ENABLE" if from_eu else "DISABLE"
        admin.execute(f"ALTER SUBSCRIPTION {name} {how}".encode())


def write_until_refused(club: Club) -> tuple[int, psycopg.Error]:
    """How many transactions were acknowledged, and the refusal."""
    for done in range(2_000):
        try:
            club.ask(EU, BIG)
        except psycopg.Error as refusal:
            return done, refusal
    raise AssertionError("nobody was refused")


def test_over_budget_writers_are_refused_until_the_peer_has_caught_up_and_others_write_on(
    club: Club,
) -> None:
    declare(club, Over.REFUSE)
    hearing(club, from_eu=False)
    done, refusal = write_until_refused(club)
    assert done > 0
    assert refusal.sqlstate == "MDF02"
    assert "eu-central lacks" in str(refusal)
    status = {one["region"]: one for one in cell_status(club.deployment, club.spec)["replicas"]}
    assert status[EU]["pressed"]["slowed_ms"] is None
    assert status[EU]["budget"] == {"bytes": BUDGET, "over": "refuse"}
    assert status[DE]["pressed"] is None
    with cells.administrator(club.deployment, EU, club.spec.database) as admin:
        (finding,) = room.check(admin, "club@eu-west")
    assert "eu-central lacks" in finding.what
    # The other way round nothing stalls, and the platform's own rows pass.
    club.ask(DE, "INSERT INTO note (id, title) VALUES (-7, 'from there')")
    club.until(lambda: club.ask(EU, "SELECT 1 FROM note WHERE id = -7") != [])
    club.ask(EU, "SELECT fabric.write_probe(gen_random_uuid())")
    hearing(club, from_eu=True)
    club.until(lambda: club.ask(EU, PRESSED) == [(None, None)])
    club.ask(EU, "INSERT INTO note (id, title) VALUES (-8, 'again')")
    club.settle()
    assert club.ask(DE, ROWS) == club.ask(EU, ROWS)


def test_of_an_origin_that_is_too_far_ahead_nothing_is_taken_until_it_is_applied(
    club: Club,
) -> None:
    """So its sender is the one whose budget is exceeded, and writers there are refused."""
    declare(club, Over.REFUSE)
    club.ask(EU, "INSERT INTO note (id, title) VALUES (-9, 'hot')")
    club.settle()
    with club.session(DE) as blocking, blocking.transaction():
        blocking.execute("SELECT FROM note WHERE id = -9 FOR UPDATE")
        club.ask(EU, "UPDATE note SET votes = 1 WHERE id = -9")

        def paused_by_now() -> bool:
            """They are refused as well as long as DE is only slow to receive."""
            _, refusal = write_until_refused(club)
            assert refusal.sqlstate == "MDF02"
            return club.ask(DE, PAUSED) == [(EU,)]

        club.until(paused_by_now)
    club.until(lambda: club.ask(EU, PRESSED) == [(None, None)] and club.ask(DE, PAUSED) == [])
    club.settle()
    assert club.ask(DE, ROWS) == club.ask(EU, ROWS)


def test_a_peer_that_is_let_go_is_seeded_again_when_it_is_back_and_nobody_was_refused(
    club: Club,
) -> None:
    declare(club, Over.LET_GO)
    hearing(club, from_eu=False)
    slot = transport.slot_name(club.spec, DE)
    club.ask(DE, "UPDATE note SET title = 'own' WHERE id = -7")

    def kept() -> bool:
        club.ask(EU, BIG)
        return (slot,) in club.links(EU)

    club.until(lambda: not kept())
    club.until(lambda: any("eu-central was let go in eu-west" in said for said in club.said))
    club.ask(EU, "UPDATE note SET votes = 5 WHERE id = -7")
    hearing(club, from_eu=True)
    found: list[Any] = [(-7, "own", 5)]
    club.until(lambda: club.ask(DE, "SELECT id, title, votes FROM note WHERE id = -7") == found)
    gaps = "SELECT region FROM fabric.watermark WHERE gap IS NOT NULL"
    club.until(lambda: club.ask(DE, gaps) == [])
    club.settle()
    assert club.ask(DE, ROWS) == club.ask(EU, ROWS)


def test_a_slot_that_is_being_made_is_nobodys_debt(club: Club) -> None:
    """It waits for the transactions that run, and has confirmed nothing: looks go on meanwhile."""
    declare(club, Over.LET_GO)
    slot = transport.slot_name(club.spec, DE)
    being_made = (
        "SELECT 1 FROM pg_replication_slots"
        f" WHERE slot_name = '{slot}' AND confirmed_flush_lsn IS NULL"
    )
    with club.session(EU) as busy, busy.transaction():
        busy.execute("SELECT pg_current_xact_id()")
        with cells.administrator(club.deployment, EU, club.spec.database) as admin:
            transport.discard_slot(admin, club.spec, to=DE)
            club.until(lambda: admin.execute(being_made.encode()).fetchone() is not None)
            admin.execute("UPDATE fabric.gate SET pressed = 'before', slowed_ms = 1")
            club.until(lambda: club.ask(EU, PRESSED) == [(None, None)])
            assert admin.execute(being_made.encode()).fetchone() is not None
        assert len(cell_status(club.deployment, club.spec)["replicas"]) == 2
    gaps = "SELECT region FROM fabric.watermark WHERE gap IS NOT NULL"
    club.until(lambda: club.links(EU).count((slot,)) == 1 and club.ask(DE, gaps) == [])
    club.settle()
    assert club.ask(DE, ROWS) == club.ask(EU, ROWS)
