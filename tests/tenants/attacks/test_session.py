"""What one tenant's SQL leaves in a pooled session touches no other tenant."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, transaction
from psycopg.errors import InsufficientPrivilege

from desk.models import Customer, Tag
from tenants.backend.session import Session, is_pooled
from tenants.context import tenant_scope
from tenants.databases import cell_alias
from tenants.errors import WrongTenantError
from tests.tenants.attacks.conftest import Inject, Pair, theirs

# What a session is made of, as far as SQL can see it.
STATE = """
SELECT (SELECT array_agg(name || '=' || setting ORDER BY name) FROM pg_settings
         WHERE source = 'session' AND name NOT IN ('search_path', 'client_encoding')),
       (SELECT array_agg(name) FROM pg_prepared_statements),
       (SELECT array_agg(name) FROM pg_cursors WHERE is_holdable),
       (SELECT array_agg(channel) FROM pg_listening_channels() channel),
       current_user, session_user, current_setting('TimeZone'), current_setting('role'),
       current_setting('standard_conforming_strings'), current_setting('client_encoding'),
       current_setting('search_path')
"""


def state() -> Any:
    """Of this thread's session, for the tenant in scope."""
    with connection.cursor() as cursor:
        cursor.execute(STATE)
        return cursor.fetchone()


LEFTOVERS = [
    "SET search_path = pg_catalog",
    "SET statement_timeout = '5s'",
    "SET lock_timeout = '1ms'",
    "SET TimeZone = 'Asia/Tokyo'",
    "SET row_security = off",
    "SET standard_conforming_strings = off",
    "SET backslash_quote = on",
    "SET client_encoding = 'SQL_ASCII'",
    "SET DateStyle = 'German'",
    "SET IntervalStyle = 'sql_standard'",
    "SET default_transaction_read_only = on",
    "SET default_transaction_isolation = 'serializable'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET transform_null_equals = on",
    "SET meridian.context = 'x'",
    "SET debug_print_parse = on",
    "SET idle_session_timeout = '10ms'",
    "SET ROLE meridian_app",
    "SET SESSION AUTHORIZATION meridian_app",
    "SELECT 1; SET enable_indexscan = off",
    "SELECT E'\\''; SET enable_seqscan = off --'",
    "PREPARE desk AS SELECT 1",
    "PREPARE _pg3_0 AS SELECT 'shadowed'",
    "DECLARE kept CURSOR WITH HOLD FOR SELECT name FROM desk_customer",
    "SELECT set_config('TimeZone', 'Asia/Tokyo', false)",
    "SELECT pg_catalog.set_config('TimeZone', 'Asia/Tokyo', false)",
    "SELECT U&\"set\\005fconfig\"('TimeZone', 'Asia/Tokyo', false)",
    "SELECT query_to_xml('SELECT pg_catalog.set_config(''TimeZone'', ''Asia/Tokyo'', false)',"
    " true, false, '')",
    "UPDATE pg_settings SET setting = 'Asia/Tokyo' WHERE name = 'TimeZone'",
    "CREATE TEMP TABLE desk_customer (id int)",
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "SELECT setseed(0.5)",
    "DISCARD ALL; SET TimeZone = 'Asia/Tokyo'",
]


@pytest.mark.parametrize("attack", LEFTOVERS)
def test_the_next_tenant_finds_a_clean_session(pair: Pair, inject: Inject, attack: str):
    mine, other = pair
    with tenant_scope(mine if mine.mode == "dedicated" else other):
        clean = state()
    with suppress(DatabaseError):
        inject(mine, attack)
    if mine.mode == "dedicated":  # nobody else uses the session; the next request does
        connections[cell_alias(mine.cell)].close_if_unusable_or_obsolete()
        other = mine
    with tenant_scope(other):
        assert state() == clean
        assert Customer.objects.count() == (1 if mine is other else 2)
        Tag.objects.get_or_create(name="writable")


@pytest.mark.parametrize(
    "attack",
    ["BEGIN", "START TRANSACTION READ ONLY", "SELECT 1; BEGIN"],
)
def test_an_open_transaction_swallows_nothing_that_the_next_tenant_writes(
    pair: Pair, inject: Inject, alone, attack: str
):
    mine, other = pair
    if mine.mode == "dedicated":
        pytest.skip("nobody else uses the session")
    with tenant_scope(other):
        Tag.objects.filter(name="kept").delete()
    inject(mine, attack)
    with tenant_scope(other):
        Tag.objects.create(name="kept")
    inject(mine, "ROLLBACK")
    kept = alone(other).execute("SELECT count(*) FROM desk_tag WHERE name = 'kept'").fetchone()
    assert kept == (1,)


def test_what_a_request_left_ends_with_the_request(pair: Pair, inject: Inject, alone):
    """An open transaction with locks in it, in a session that nobody happens to use next."""
    mine, _ = pair
    inject(mine, f"BEGIN; UPDATE {theirs(mine, 'desk_customer')} SET name = name")
    connections[cell_alias(mine.cell)].close_if_unusable_or_obsolete()
    session = alone(mine)
    session.execute("SET lock_timeout = '60s'")  # the other session ends in its own time
    session.execute("UPDATE desk_customer SET name = name")


def test_a_transaction_of_one_tenant_does_not_go_on_for_another(shared_pair: Pair):
    mine, other = shared_pair
    with tenant_scope(mine), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '5s'")
        with tenant_scope(other), pytest.raises(WrongTenantError):
            Tag.objects.count()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'a; SET x = 1'",
        "SET LOCAL statement_timeout = '5s'",
        "SELECT set_config('statement_timeout', '5s', true)",
        "SELECT 1; SELECT 2",
    ],
)
def test_statements_that_leave_nothing_keep_the_session(
    shared_pair: Pair, inject: Inject, statement: str
):
    with tenant_scope(shared_pair[0]):
        Tag.objects.count()
        before = connection.connection.info.backend_pid
    inject(shared_pair[0], statement)
    with tenant_scope(shared_pair[1]):
        Tag.objects.count()
        assert connection.connection.info.backend_pid == before


def test_behind_a_pooler_nothing_is_sent_that_would_be_left_in_its_session(shared_pair: Pair):
    """There nobody knows whose session it will be next. Without one, `SET` is let through."""
    with tenant_scope(shared_pair[0]):
        connection.ensure_connection()
        server = connection.connection.pgconn
        assert is_pooled(server) is False
        session = Session(own_database=False)
        session.pooled = True
        session.let_pass(b"SET LOCAL statement_timeout = 5", server)
        with pytest.raises(InsufficientPrivilege, match="use SET LOCAL"):
            session.let_pass(b"SET statement_timeout = 5", server)
        assert session.left_by is None


def test_a_forged_stamp_cannot_be_put_into_the_change_log(
    pair: Pair, inject: Inject, administer: Callable[..., Any]
):
    """It would push the cell's clock ahead, and every peer would park every tenant's changes."""
    mine, _ = pair
    before = administer(mine, "SELECT last_value FROM fabric.clock")[0][0]
    for number, function in enumerate(("set_config", "pg_catalog.set_config")):
        with suppress(DatabaseError):
            inject(
                mine,
                "INSERT INTO desk_tag (name) SELECT 'stamp-' || "
                f"{function}('fabric.stamp', '4611686018427387904', true) || '{number}'",
            )
    inject(mine, "UPDATE desk_tag SET name = name || '!'")
    inject(mine, "DELETE FROM desk_tag")
    ahead = administer(mine, "SELECT last_value FROM fabric.clock")[0][0] - before
    assert ahead < 60_000_000, "microseconds"
