"""The server's log tells neither contexts nor values, whatever a tenant's SQL makes it write."""

from __future__ import annotations

import re
from contextlib import suppress

import psycopg
from django.db import DatabaseError

from desk.models import Tag
from tenants.context import tenant_scope
from tests.settings import TEST_PLAN
from tests.tenants.attacks.conftest import HOME, Inject, Pair

SECRET = "hunter2-of-the-log-test"
SIGNATURE = r"\.[0-9A-Za-z+/]{64}"
PROVOKE = [
    f"SELECT '{SECRET}'::int",
    f"SELECT 1/0 FROM desk_tag WHERE name = '{SECRET}'",
    f"SELECT nothing_like_it('{SECRET}')",
    f"INSERT INTO desk_tag (name) VALUES ('{SECRET}'), ('{SECRET}')",
    f"SET debug_print_parse = on; SELECT '{SECRET}'",
    f"SET client_min_messages = debug5; SELECT '{SECRET}'",
    f"SET log_statement = 'all'; SELECT '{SECRET}'",
    f"SET log_min_duration_statement = 0; SELECT '{SECRET}'",
    f"SET LOCAL statement_timeout = 50; SELECT pg_sleep(5), '{SECRET}'",
    f"SET LOCAL lock_timeout = 1; SELECT '{SECRET}'",
]


def written(since: int) -> str:
    log = TEST_PLAN.logs / f"{HOME}-postgres.log"
    with log.open("rb") as file:
        file.seek(since)
        return file.read().decode(errors="replace")


def test_errors_and_settings_put_no_context_and_no_value_into_the_log(pair: Pair, inject: Inject):
    size = (TEST_PLAN.logs / f"{HOME}-postgres.log").stat().st_size
    for statement in PROVOKE:
        with suppress(DatabaseError):
            inject(pair[0], statement)
    text = written(size)
    assert "division by zero" in text, "the log is not where the test looks"
    assert not re.findall(SIGNATURE, text)
    assert str(pair[0].id) not in text
    # What an error quotes of a value it could not read is all that is left of a statement.
    assert text.count(SECRET) <= text.count("invalid input syntax")


def test_a_deadlock_does_not_write_the_statements_of_the_two(pair: Pair, alone):
    """By itself PostgreSQL writes both sides' statements, with what stands in front of them."""
    with tenant_scope(pair[0]):
        Tag.objects.filter(name__in=("dead", "lock")).delete()
        for name in ("dead", "lock"):
            Tag.objects.create(name=name)
    size = (TEST_PLAN.logs / f"{HOME}-postgres.log").stat().st_size
    one, two = alone(pair[0]), alone(pair[0])
    update = "UPDATE desk_tag SET name = name WHERE name = '{}' /* " + SECRET + " */"
    for session, name in ((one, "dead"), (two, "lock")):
        session.execute("BEGIN")
        session.execute(update.format(name))
    one.pgconn.send_query(update.format("lock").encode())
    with suppress(psycopg.errors.DeadlockDetected):
        two.execute(update.format("dead"))
    one.pgconn.get_result()
    text = written(size)
    assert "deadlock detected" in text
    assert SECRET not in text
