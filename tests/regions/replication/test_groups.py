"""Many source transactions are merged as one group: what comes of it is what comes of one after the
other, whatever breaks in the middle."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regions.deployment import AGENT_ROLE
from regions.replication import apply, letters
from regions.replication.session import Session, open_session
from tests.regions.replication.looking import DE, EU, US
from tests.regions.replication.mesh import Mesh

TABLES = """
CREATE TABLE club (
    id integer PRIMARY KEY, name text, visits integer NOT NULL DEFAULT 0,
    labels text[] NOT NULL DEFAULT '{}'
);
CREATE TABLE member (
    id integer PRIMARY KEY, club_id integer NOT NULL REFERENCES club ON DELETE CASCADE,
    name text
)
"""
DECLARED: dict[str, dict[str, str]] = {
    "member": {},
    "club": {"visits": "counter", "labels": "set"},
}

# Each is a transaction of one region; {n} makes its values its own.
WRITES = (
    "INSERT INTO club (id, name, labels) VALUES ({key}, 'c{n}', '{{a}}') ON CONFLICT DO NOTHING",
    "UPDATE club SET visits = visits + 1, name = 'r{n}' WHERE id = {key}",
    "UPDATE club SET labels = labels || ARRAY['l{n}'] WHERE id = {key}",
    "UPDATE club SET labels = '{{}}' WHERE id = {key}",
    "DELETE FROM club WHERE id = {key}",
    "INSERT INTO member (id, club_id, name) SELECT {n}, id, 'm{n}' FROM club WHERE id = {key}",
    "UPDATE member SET name = 'n{n}' WHERE club_id = {key}",
    "DELETE FROM member WHERE club_id = {key}",
)
script = st.lists(
    st.tuples(st.sampled_from([EU, EU, DE]), st.sampled_from(WRITES), st.integers(1, 2)),
    min_size=2,
    max_size=12,
)


@given(steps=script)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_group_makes_what_its_transactions_make_one_after_the_other(
    ruled: Mesh, steps: list[tuple[str, str, int]]
) -> None:
    ruled.start_anew()
    for n, (region, write, key) in enumerate(steps, 1):
        ruled.write(region, write.format(key=key, n=n))
        # US takes each by itself, the other writer all of them as one group.
        ruled.deliver(region, US)
    ruled.settle()
    for table in DECLARED:
        ruled.assert_equal(table)
    assert ruled.parked() == []


def test_a_group_whose_applier_dies_in_the_middle_is_applied_whole_by_the_next(
    ruled: Mesh,
) -> None:
    before = ruled.rows(DE, "SELECT origin, arrival FROM fabric.watermark ORDER BY 1")
    for n in (1, 2, 3):
        ruled.write(EU, "INSERT INTO club (id, name) VALUES (%s, 'c')", n)
        ruled.write(EU, "INSERT INTO member (id, club_id) VALUES (%s, %s)", n, n)
    ruled.await_inbox(EU, DE)
    dsn = ruled.deployment.dsn(DE, ruled.spec.database, AGENT_ROLE)
    doomed = ruled.loop.run_until_complete(open_session(dsn))
    with (
        ruled.administrator(DE) as killer,
        ruled.administrator(DE) as admin,
        admin.transaction(),
    ):
        admin.execute("LOCK TABLE public.member")
        thread = threading.Thread(target=_kill_waiting, args=(killer, doomed))
        thread.start()
        with pytest.raises(psycopg.OperationalError):
            ruled.loop.run_until_complete(apply.step(doomed, ruled.node(EU)))
        thread.join()
    ruled.loop.run_until_complete(doomed.close())
    assert ruled.rows(DE, "SELECT id FROM club") == []
    assert ruled.rows(DE, "SELECT origin, arrival FROM fabric.watermark ORDER BY 1") == before
    ruled.settle()
    assert ruled.rows(DE, "SELECT id FROM member ORDER BY id") == [(1,), (2,), (3,)]
    for table in DECLARED:
        ruled.assert_equal(table)


def _kill_waiting(killer: psycopg.Connection[Any], doomed: Session) -> None:
    pid = doomed.connection.info.backend_pid
    waiting = "SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted"
    deadline = time.monotonic() + 300
    while killer.execute(waiting, (pid,)).fetchone() == (0,) and time.monotonic() < deadline:
        time.sleep(0.01)
    killer.execute("SELECT pg_terminate_backend(%s)", (pid,))


def test_what_poisons_a_group_is_parked_alone_and_goes_in_when_it_can(ruled: Mesh) -> None:
    with ruled.administrator(DE) as admin:
        admin.execute("ALTER TABLE public.club ADD CONSTRAINT sober CHECK (name <> 'poison')")
    try:
        for n, name in enumerate(("a", "poison", "b"), 1):
            ruled.write(EU, "INSERT INTO club (id, name) VALUES (%s, %s)", n, name)
            ruled.write(EU, "INSERT INTO member (id, club_id) VALUES (%s, %s)", n, n)
        assert ruled.deliver(EU, DE).parked == 1
        assert ruled.rows(DE, "SELECT id FROM club ORDER BY id") == [(1,), (3,)]
        assert ruled.rows(DE, "SELECT id FROM member ORDER BY id") == [(1,), (2,), (3,)]
        assert len(ruled.parked()) == 1
    finally:
        with ruled.administrator(DE) as admin:
            admin.execute("ALTER TABLE public.club DROP CONSTRAINT sober")
    ruled.loop.run_until_complete(letters.retry(ruled.appliers[DE]))
    assert ruled.settled("club", "id, name") == [(1, "a"), (2, "poison"), (3, "b")]
    assert ruled.parked() == []


def test_the_same_key_many_times_in_a_group_is_what_its_writer_left(ruled: Mesh) -> None:
    for n in range(3):
        ruled.write(EU, "INSERT INTO club (id, name) VALUES (1, %s)", f"born {n}")
        ruled.write(EU, "UPDATE club SET visits = visits + 2, labels = labels || ARRAY['x']")
        ruled.write(EU, "DELETE FROM club")
    ruled.write(EU, "INSERT INTO club (id, name, visits) VALUES (1, 'last', 1)")
    ruled.write(EU, "UPDATE club SET visits = visits + 2")
    assert ruled.settled("club", "name, visits, labels") == [("last", 3, [])]
    assert ruled.rows(DE, "SELECT * FROM fabric.conflict") == []


def test_conflicts_within_a_group_are_each_in_the_ledger(ruled: Mesh) -> None:
    ruled.write(EU, "INSERT INTO club (id, name) SELECT n, 'c' FROM generate_series(1, 3) n")
    ruled.settle()
    for n in (1, 2, 3):
        ruled.write(DE, "UPDATE club SET name = 'de', visits = visits + 1 WHERE id = %s", n)
    for n in (1, 2, 3):
        ruled.write(EU, "UPDATE club SET name = 'eu', visits = visits + 1 WHERE id = %s", n)
    assert ruled.settled("club", "name, visits") == [("eu", 2)] * 3
    lost = "SELECT pk, field, loser FROM fabric.conflict ORDER BY pk"
    assert ruled.rows(DE, lost) == [([str(n)], "name", "de") for n in (1, 2, 3)]
