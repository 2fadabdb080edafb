"""No quoting hides a command from the gate: it is asked, and so is PostgreSQL."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenants.backend.gate import Verdict, judge


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1",
        "select * from t where a = 'x; LOCK TABLE t'",
        "SELECT 1;",
        "(SELECT 1) UNION (SELECT 2)",
        "/* app='desk' */ SELECT 1",
        "-- a\nSELECT 1",
        "INSERT INTO t VALUES (E'it\\'s; LOCK TABLE t --')",
        "INSERT INTO t VALUES ($x$;LOCK$x$); INSERT INTO t VALUES ('b;')",
        'SELECT "a;b" FROM t',
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "SAVEPOINT s1",
        "RELEASE SAVEPOINT s1",
        "ROLLBACK TO SAVEPOINT s1",
        "SET LOCAL statement_timeout = 5",
        "SET CONSTRAINTS ALL IMMEDIATE",
        "COPY t TO STDOUT",
        "",
    ],
)
def test_statements_about_rows_pass_and_leave_nothing(statement: str):
    assert judge(statement.encode()) is Verdict.PLAIN


@pytest.mark.parametrize(
    "statement",
    [
        "SET search_path = x",
        "SELECT 1; reset all",
        "SELECT 1;/* */BEGIN",
        "COMMIT",
        "ROLLBACK",
        "PREPARE p AS SELECT 1",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "UNLISTEN a",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SELECT 'a';SET x = 1",
        "SELECT E'\\'';SET x = 1 --'",
        "SELECT 'a\\';SET x = 1 --'",
        "SELECT /* /* */ ; */ 1; SET x = 1",
        "SELECT $a$ $b$ ; $a$; SET x = 1",
    ],
)
def test_what_may_outlive_its_transaction_is_noticed(statement: str):
    assert judge(statement.encode()) is Verdict.LEAVES


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER ROLE meridian_app PASSWORD 'x'",
        "SELECT 1; ALTER USER CURRENT_USER SET search_path = x",
        "LOCK TABLE t",
        "lock t",
        "SELECT 1;\n\tLoCk t",
        "SELECT E'\\\\';LOCK t --'",
        "SELECT E'a'\n'\\'' ;LOCK t --'",
        "SELECT U&'\\';LOCK t --'",
        "SELECT abc$$;LOCK t; --$$",
        "SELECT $1$x$;$x$;LOCK t",
        "EXPLAIN SELECT 1",
        "DO $$ BEGIN END $$",
        "CREATE TABLE t ()",
        "GRANT SELECT ON t TO PUBLIC",
        "VACUUM",
        "LISTEN a",
        "NOTIFY a",
        "PREPARE TRANSACTION 'kept'",
        "SELECT 1; prepare /* */ transaction 'kept'",
        "COMMIT PREPARED 'theirs'",
        "ROLLBACK PREPARED 'theirs'",
        "=1; SELECT 1",
    ],
)
def test_what_is_not_about_rows_is_refused(statement: str):
    assert judge(statement.encode()) is Verdict.REFUSED


def test_who_has_a_database_to_himself_may_lock_and_explain():
    for statement in (b"LOCK TABLE t", b"EXPLAIN SELECT 1"):
        assert judge(statement, own_database=True) is Verdict.PLAIN
    assert judge(b"ALTER ROLE a PASSWORD 'x'", own_database=True) is Verdict.REFUSED


# Whatever could open or close a string, a comment or a statement, in PostgreSQL or in the gate.
_MARKS = ["'", "''", "E'", "e'", "U&'", "N'", "B'", "\\", "\\'", '"', "$$", "$a$", "$", "$1", "1"]
_COMMENTS = ["--", "/*", "*/", "-", "/", "*", "||", "(", ")", "x", "é"]
_SPACE = ["\n", " ", "\f", "\v", "\r"]
_COMMANDS = [";", ";LISTEN gate;", ";LISTEN gate--", "SELECT 1", "SELECT '", "SELECT E'"]
_PIECES = st.sampled_from([*_MARKS, *_COMMENTS, *_SPACE, *_COMMANDS])


@pytest.fixture(scope="module")
def session(deployment):
    """Any role's will do; a session that listens says so."""
    with psycopg.connect(deployment.dsn("eu-west", "postgres", "postgres"), autocommit=True) as on:
        yield on


@settings(
    max_examples=500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(pieces=st.lists(_PIECES, max_size=14))
def test_postgresql_runs_no_command_that_the_gate_took_for_data(session, pieces: list[str]):
    message = "SELECT 1;" + "".join(pieces)
    session.execute("UNLISTEN *")
    done = session.pgconn.exec_(message.encode())
    if session.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        session.rollback()
    listens = session.execute("SELECT count(*) FROM pg_listening_channels()").fetchone()[0]
    if listens:
        assert judge(message.encode()) >= Verdict.LEAVES, (message, done.status)
