"""What arbitrary SQL under the application role can't do, in every mode."""

from __future__ import annotations

import time
from uuid import uuid4

import psycopg
import pytest
from django.db import transaction
from psycopg import errors

from regions import cells
from regions.topology import database_name
from tenants.backend.context import sign_context
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tests.tenants.attacks.conftest import HOME, genuine, prefix, theirs

Pair = tuple[TenantRecord, TenantRecord]
NOT_GENUINE = "MTN01"


def count(session, tenant: TenantRecord) -> int:
    path = psycopg.sql.Identifier(tenant.schema, "desk_customer")
    return session.execute(psycopg.sql.SQL("SELECT count(*) FROM {}").format(path)).fetchone()[0]


def enter(session, context: str) -> None:
    literal = psycopg.sql.Literal(context)
    session.execute(psycopg.sql.SQL("SET meridian.context = {}").format(literal))


def test_without_a_context_there_are_no_rows(pair: Pair, raw):
    assert count(raw(pair[0]), pair[0]) == 0


def test_a_genuine_context_shows_the_tenants_own_rows_only(pair: Pair, raw, deployment):
    session = raw(pair[0])
    enter(session, genuine(deployment, pair[0]))
    assert count(session, pair[0]) == 1
    if pair[0].mode == "schema":
        assert count(session, pair[1]) == 0


@pytest.mark.parametrize(
    "forgery",
    ["bare", "other", "signature", "expired", "prolonged", "prolonged apart", "cell", "junk"],
)
def test_a_forged_context_raises(pair: Pair, raw, deployment, forgery: str):
    mine, theirs = pair
    own = genuine(deployment, mine)
    expired = sign_context(deployment.context_key(mine.cell), mine.id, int(time.time()) - 1)
    claim, _, signature = expired.rpartition(".")
    context = {
        "bare": str(theirs.id),
        "other": own.replace(str(mine.id), str(theirs.id)),
        "signature": own[:-1] + ("0" if own[-1] != "0" else "1"),
        "expired": expired,
        "prolonged": f"{claim}0.{signature}",
        "prolonged apart": f"{claim}.{signature}.{signature}",
        "cell": genuine(deployment, theirs, cell="control"),
        "junk": "a.b.c.d'; --",
    }[forgery]
    session = raw(mine)
    enter(session, context)
    with pytest.raises(psycopg.Error) as refused:
        count(session, mine)
    assert refused.value.sqlstate == NOT_GENUINE


def test_a_database_without_its_key_shows_nothing(pair: Pair, deployment):
    mine = pair[0]
    with (
        cells.administrator(deployment, HOME, database_name(mine.cell)) as admin,
        admin.transaction(force_rollback=True),
    ):
        admin.execute("DELETE FROM tenancy.secret")
        admin.execute(prefix(deployment, mine))
        admin.execute("SET LOCAL ROLE meridian_app")
        assert count(admin, mine) == 0


def test_what_a_caller_has_in_his_search_path_changes_no_check(pair: Pair, deployment):
    mine, theirs = pair
    forged = genuine(deployment, mine).replace(str(mine.id), str(theirs.id))
    with (
        cells.administrator(deployment, HOME, database_name(mine.cell)) as admin,
        admin.transaction(force_rollback=True),
    ):
        admin.execute(
            "CREATE SCHEMA trap; GRANT USAGE ON SCHEMA trap TO meridian_app;"
            "CREATE FUNCTION trap.substr(text, int) RETURNS text LANGUAGE sql RETURN 'same';"
            "CREATE FUNCTION trap.encode(bytea, text) RETURNS text LANGUAGE sql RETURN 'same';"
        )
        admin.execute("SET LOCAL search_path = trap, pg_catalog")
        admin.execute(f"SET LOCAL meridian.context = '{forged}'")
        admin.execute("SET LOCAL ROLE meridian_app")
        with pytest.raises(psycopg.Error) as refused:
            count(admin, mine)
        assert refused.value.sqlstate == NOT_GENUINE


def test_a_forged_context_cannot_write_either(pair: Pair, raw):
    session = raw(pair[0])
    enter(session, f"{pair[1].id}.9999999999.00")
    table = psycopg.sql.Identifier(pair[0].schema, "desk_tag")
    with pytest.raises(psycopg.Error) as refused:
        session.execute(psycopg.sql.SQL("INSERT INTO {} (name) VALUES ('x')").format(table))
    assert refused.value.sqlstate == NOT_GENUINE


@pytest.mark.parametrize(
    "statement",
    [
        "SET ROLE meridian_owner",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION meridian_agent",
        "SET session_replication_role = replica",
        "CREATE TEMP TABLE desk_customer (id int)",
        "CREATE TABLE public.mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SELECT * FROM tenancy.secret",
        "SELECT query FROM pg_stat_activity",
        "SELECT pg_stat_get_backend_activity(1)",
        "SELECT * FROM fabric.change",
        "SELECT * FROM fabric.tombstone",
        "SELECT * FROM fabric.conflict",
        "SELECT rolpassword FROM pg_authid",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
    ],
)
def test_the_role_may_not(pair: Pair, raw, statement: str):
    with pytest.raises(errors.InsufficientPrivilege):
        raw(pair[0]).execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE {}",
        "ALTER TABLE {} DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE {} DISABLE TRIGGER ALL",
        "DROP POLICY tenant_rows ON {}",
        "DROP TABLE {}",
        "CREATE TRIGGER t BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION tenancy.x()",
    ],
)
def test_tables_stay_as_they_are(pair: Pair, raw, statement: str):
    path = psycopg.sql.Identifier(pair[0].schema, "desk_customer")
    with pytest.raises(psycopg.errors.DatabaseError) as refused:
        raw(pair[0]).execute(psycopg.sql.SQL(statement).format(path))
    assert refused.value.sqlstate in ("42501", "42883")


def test_row_security_cannot_be_switched_off(pair: Pair, raw):
    session = raw(pair[0])
    session.execute("SET row_security = off")
    with pytest.raises(errors.InsufficientPrivilege):
        count(session, pair[0])


def test_copy_reads_nothing_without_a_context(pair: Pair, raw):
    path = psycopg.sql.Identifier(pair[0].schema, "desk_customer")
    statement = psycopg.sql.SQL("COPY (SELECT * FROM {}) TO STDOUT").format(path)
    with raw(pair[0]).cursor().copy(statement) as copy:
        assert b"".join(copy) == b""


def test_models_and_permissions_can_be_read_and_not_written(pair: Pair, raw):
    session = raw(pair[0])
    path = psycopg.sql.Identifier(pair[0].schema, "django_content_type")
    rows = session.execute(psycopg.sql.SQL("SELECT count(*) FROM {}").format(path)).fetchone()
    assert rows[0] > 0
    with pytest.raises(errors.InsufficientPrivilege):
        session.execute(psycopg.sql.SQL("DELETE FROM {}").format(path))


def test_error_messages_do_not_show_the_signature(deployment, raw, shared_pair):
    tenant = shared_pair[0]
    with pytest.raises(errors.UndefinedColumn) as wrong:
        raw(tenant).execute(
            prefix(deployment, tenant) + b"SELECT nothing_like_it FROM desk_customer"
        )
    assert "meridian.context" not in str(wrong.value)


@pytest.mark.parametrize(
    "call",
    [
        "set_config('meridian.context', '{0}', true)",
        "set_config('MERIDIAN.context', '{0}', true)",
        "pg_catalog.set_config('meridian.context', '{0}', true)",
        "tenancy.enter('{0}', 'public')",
    ],
)
def test_no_function_changes_the_context_in_the_midst_of_a_statement(
    shared_pair: Pair, alone, deployment, call: str
):
    """Not even to a genuine one: what a statement sees is one tenant's."""
    mine, other = shared_pair
    session = alone(mine)
    change = call.format(genuine(deployment, other))
    refused = (errors.InsufficientPrivilege, errors.UndefinedFunction)
    with pytest.raises(refused):
        session.execute(f"SELECT name FROM desk_customer WHERE {change} IS NOT NULL")


def test_a_transactions_own_settings_do_not_keep_the_next_context_out(pair: Pair, inject):
    """Nothing that a tenant can tell the server's parser changes what the platform puts first."""
    mine, _ = pair
    table = theirs(mine, "desk_customer")
    with tenant_scope(mine), transaction.atomic():
        for setting in (
            "standard_conforming_strings = off",
            "backslash_quote = on",
            "search_path = nowhere",
            "meridian.context = ''",
        ):
            inject(mine, f"SET LOCAL {setting}")
        assert inject(mine, f"SELECT count(*) FROM {table}") == [(1,)]


def test_an_unknown_tenants_context_shows_nothing(pair: Pair, raw, deployment):
    session = raw(pair[0])
    key = deployment.context_key(pair[0].cell)
    enter(session, sign_context(key, uuid4(), int(time.time()) + 60))
    assert count(session, pair[0]) == 0
