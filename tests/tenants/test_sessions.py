"""Sessions that are kept for the next who needs one."""

from __future__ import annotations

import threading

import psycopg
import pytest

from regions import cells
from regions.deployment import APP_ROLE, CONTROL_CELL, Deployment
from tenants import sessions
from tenants.sessions import lent


@pytest.fixture
def dsn(control: Deployment, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sessions, "_kept", type(sessions._kept)(list))
    return control.dsn("eu-west", CONTROL_CELL, APP_ROLE)


def pid(session: psycopg.Connection) -> int:
    return session.info.backend_pid


def test_a_session_is_lent_again_and_never_to_two_at_once(dsn: str):
    with lent(dsn) as one, lent(dsn) as two:
        assert pid(one) != pid(two)
        used = {pid(one), pid(two)}
    with lent(dsn) as one, lent(dsn) as two:
        assert {pid(one), pid(two)} == used
        one.close(), two.close()


def test_one_in_which_something_went_wrong_is_not_lent_again(dsn: str):
    with pytest.raises(psycopg.errors.DivisionByZero), lent(dsn) as session:
        first = session
        session.execute("SELECT 1/0")
    assert first.closed
    with lent(dsn) as session:
        session.execute("BEGIN")
    with lent(dsn) as again:
        assert again is not session
        again.close()
    session.close()


def test_one_that_the_server_has_ended_is_replaced(control: Deployment, dsn: str):
    with lent(dsn) as session:
        killed = pid(session)
    with cells.administrator(control, "eu-west") as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", (killed,))
    with lent(dsn) as session:
        assert pid(session) != killed
        assert session.execute("SELECT 1").fetchone() == (1,)
        session.close()


def test_one_that_nobody_has_used_for_long_is_closed(dsn: str, monkeypatch: pytest.MonkeyPatch):
    with lent(dsn) as old:
        pass
    monkeypatch.setattr(sessions, "KEPT_SECONDS", 0.0)
    with lent(dsn) as new:
        assert new is not old
        assert old.closed
        new.close()


def test_threads_share_what_is_kept(dsn: str):
    def borrow() -> None:
        with lent(dsn) as session:
            seen.append(session)

    seen: list[psycopg.Connection] = []
    for _ in range(2):
        thread = threading.Thread(target=borrow)
        thread.start()
        thread.join()
    assert seen[0] is seen[1]
    seen[0].close()
