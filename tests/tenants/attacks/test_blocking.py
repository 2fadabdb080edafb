"""Nobody can be kept waiting, or be stopped, by another tenant's SQL."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest
from django.db import NotSupportedError, ProgrammingError

from tenants.isolation.catalog import REFERENCE_TABLES
from tests.tenants.attacks.conftest import Inject, Pair, theirs


@pytest.mark.parametrize(
    "statement",
    [
        "LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE",
        "SELECT 1; LOCK {table}",
        "BEGIN; LOCK TABLE ONLY {table} IN SHARE MODE",
        "DO $$ BEGIN LOCK TABLE {table}; END $$",
        "SELECT query_to_xml('LOCK TABLE {table}', true, false, '')",
        "SELECT E'\\'';LOCK TABLE {table} --'",
    ],
)
def test_tables_that_others_use_cannot_be_locked(pair: Pair, inject: Inject, alone, statement: str):
    mine, other = pair
    if mine.mode == "dedicated":
        pytest.skip("a tenant may lock his own tables")
    with suppress(ProgrammingError, NotSupportedError):
        inject(mine, statement.format(table=theirs(other, "desk_customer")))
    victim = alone(other)
    victim.execute("SET lock_timeout = '60s'")
    victim.execute("UPDATE desk_customer SET name = name")


@pytest.mark.parametrize(
    "statement",
    [
        "NOTIFY fabric, 'x'",
        "SELECT 1; NOTIFY fabric",
        "LISTEN desk",
        "SELECT pg_notify('fabric', repeat('x', 7000) || n) FROM generate_series(1, 9) n",
        "SELECT pg_catalog.pg_notify('fabric', '')",
        "SELECT query_to_xml('NOTIFY fabric', true, false, '')",
        "SELECT pg_logical_emit_message(false, 'desk', repeat('x', 7000))",
        "SELECT count(pg_export_snapshot()) FROM generate_series(1, 9)",
    ],
)
def test_what_a_clusters_databases_share_cannot_be_filled(
    pair: Pair, inject: Inject, statement: str
):
    """There is one queue of notifications, which a listener that sleeps holds up, one log, and one
    disk for exported snapshots. When one is full, nobody's changes arrive anywhere."""
    with pytest.raises((ProgrammingError, NotSupportedError)):
        inject(pair[0], statement)


def test_what_spills_to_disk_is_bounded_and_stays_so(pair: Pair, alone):
    session = alone(pair[0])
    assert session.execute("SHOW temp_file_limit").fetchone() == ("2GB",)
    for attempt in ("SET temp_file_limit = -1", "RESET temp_file_limit", "RESET ALL"):
        with suppress(psycopg.errors.InsufficientPrivilege):
            session.execute(attempt)
        assert session.execute("SHOW temp_file_limit").fetchone() == ("2GB",), attempt


@pytest.mark.parametrize("strength", ["UPDATE", "NO KEY UPDATE", "SHARE", "KEY SHARE"])
def test_rows_that_all_tenants_refer_to_cannot_be_locked(pair: Pair, alone, strength: str):
    """A lock on a content type would hold up everybody's inserts that refer to it."""
    for table in REFERENCE_TABLES:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            alone(pair[0]).execute(f"SELECT * FROM {theirs(pair[1], table)} FOR {strength}")


def test_an_advisory_lock_keeps_no_other_tenant_waiting(pair: Pair, inject: Inject, alone):
    mine, other = pair
    holder, victim = alone(mine), alone(other)
    victim.execute("SET lock_timeout = '60s'")
    for take in ("pg_advisory_lock(1)", "pg_advisory_lock(1, 2)", "pg_advisory_lock_shared(3)"):
        holder.execute(f"SELECT {take}")
        victim.execute(f"SELECT {take}")
        victim.execute("SELECT pg_advisory_unlock_all()")
    if mine.mode != "dedicated":
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            holder.execute("SELECT pg_catalog.pg_advisory_lock(1)")


def test_an_advisory_lock_is_one_for_the_tenant_that_takes_it(pair: Pair, alone):
    holder, rival = alone(pair[0]), alone(pair[0])
    ask = "SELECT pg_try_advisory_lock(7), pg_try_advisory_lock(7, 1)"
    assert holder.execute(ask).fetchone() == (True, True)
    assert rival.execute(ask).fetchone() == (False, False)
    holder.execute("SELECT pg_advisory_unlock(7), pg_advisory_unlock(7, 1)")
    assert rival.execute(ask).fetchone() == (True, True)
    with rival.transaction():
        rival.execute("SELECT pg_advisory_xact_lock(8)")
        assert holder.execute("SELECT pg_try_advisory_xact_lock(8)").fetchone() == (False,)
    assert holder.execute("SELECT pg_try_advisory_xact_lock(8)").fetchone() == (True,)


def test_apps_take_advisory_locks_without_a_change(pair: Pair, inject: Inject):
    assert inject(pair[0], "SELECT pg_try_advisory_xact_lock(42)") == [(True,)]


@pytest.mark.parametrize("function", ["pg_terminate_backend", "pg_cancel_backend"])
def test_sessions_of_others_cannot_be_stopped(pair: Pair, alone, function: str):
    victim, attacker = alone(pair[1]), alone(pair[0])
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        attacker.execute(f"SELECT {function}({victim.info.backend_pid})")
    victim.execute("SELECT 1")


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER ROLE meridian_app PASSWORD 'mine now'",
        "ALTER USER CURRENT_USER SET statement_timeout = '1ms'",
        "SELECT 1; ALTER ROLE meridian_app SET search_path = nowhere",
        "ALTER ROLE meridian_app IN DATABASE control SET default_transaction_read_only = on",
        "SELECT 1;/* */alter role session_user reset all",
        "DO $$ BEGIN ALTER ROLE meridian_app PASSWORD 'x'; END $$",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    ],
)
def test_the_role_that_all_tenants_share_stays_as_it_is(
    pair: Pair, inject: Inject, administer, alone, statement: str
):
    """PostgreSQL lets every role change its own password and defaults: for all tenants, here."""
    facts = (
        "SELECT (SELECT rolpassword FROM pg_authid WHERE rolname = 'meridian_app'),"
        " (SELECT array_agg(s::text) FROM pg_db_role_setting s),"
        " (SELECT array_agg(d::text) FROM pg_default_acl d)"
    )
    before = administer(pair[0], facts)
    with pytest.raises(ProgrammingError):
        inject(pair[0], statement)
    assert administer(pair[0], facts) == before


def test_uncommitted_rows_of_one_tenant_keep_no_other_waiting(pair: Pair, alone):
    """The same unique values, and references, in two transactions at once."""
    first, second = alone(pair[0]), alone(pair[1])
    second.execute("SET lock_timeout = '60s'")
    insert = "INSERT INTO desk_tag (name) VALUES ('at-once')"
    with first.transaction(force_rollback=True):
        first.execute("DELETE FROM desk_tag WHERE name = 'at-once'")
        first.execute(insert)
        first.execute("SELECT * FROM desk_customer FOR UPDATE")
        with second.transaction(force_rollback=True):
            second.execute("DELETE FROM desk_tag WHERE name = 'at-once'")
            second.execute(insert)
            second.execute("SELECT * FROM desk_customer FOR UPDATE")
