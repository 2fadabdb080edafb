"""What was spoilt on a real server is found, named and told how to mend."""

from __future__ import annotations

import io
import json

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.test import override_settings

from regions import cells
from regions.cells import APP_SETTINGS
from tenants.doctor import cache, settings
from tenants.doctor.findings import Severity
from tests.tenants.conftest import HOME
from tests.tenants.doctor.conftest import mended

HARMS = {
    "a table without row-level security": (
        'ALTER TABLE "{schema}".desk_ticket DISABLE ROW LEVEL SECURITY',
        'ALTER TABLE "{schema}".desk_ticket ENABLE ROW LEVEL SECURITY',
        "tables", Severity.DANGER, "desk_ticket",
    ),
    "security that its owner escapes": (
        'ALTER TABLE "{schema}".desk_ticket NO FORCE ROW LEVEL SECURITY',
        'ALTER TABLE "{schema}".desk_ticket FORCE ROW LEVEL SECURITY',
        "tables", Severity.DANGER, "desk_ticket",
    ),
    "a table without a policy": (
        'ALTER POLICY tenant_rows ON "{schema}".desk_tag RENAME TO gone',
        'ALTER POLICY gone ON "{schema}".desk_tag RENAME TO tenant_rows',
        "tables", Severity.DANGER, "desk_tag",
    ),
    "a policy that lets everybody in": (
        'CREATE POLICY open_door ON "{schema}".desk_tag USING (true)',
        'DROP POLICY open_door ON "{schema}".desk_tag',
        "tables", Severity.DANGER, "open_door",
    ),
    "a policy that says something else": (
        'ALTER POLICY tenant_rows ON "{schema}".desk_tag USING (name IS NOT NULL)',
        'DROP POLICY tenant_rows ON "{schema}".desk_tag; SECURE',
        "tables", Severity.DANGER, "desk_tag",
    ),
    "a policy that the planner misjudges": (
        'ALTER POLICY tenant_rows ON "{schema}".desk_tag'
        " USING ((SELECT tenancy.current_tenant()) = '{tenant}'::uuid)"
        " WITH CHECK ((SELECT tenancy.current_tenant()) = '{tenant}'::uuid)",
        "SECURE",
        "tables", Severity.WARNING, "misjudges 1 tables",
    ),
    "code that can be written": (
        'GRANT INSERT ON "{schema}".auth_permission TO meridian_app',
        'REVOKE INSERT ON "{schema}".auth_permission FROM meridian_app',
        "tables", Severity.DANGER, "auth_permission",
    ),
    "an open counter": (
        'GRANT USAGE ON SEQUENCE "{schema}".desk_tag_id_seq TO meridian_app',
        'REVOKE USAGE ON SEQUENCE "{schema}".desk_tag_id_seq FROM meridian_app',
        "tables", Severity.WARNING, "desk_tag_id_seq",
    ),
    "a role that bypasses policies": (
        "ALTER ROLE meridian_app BYPASSRLS", "ALTER ROLE meridian_app NOBYPASSRLS",
        "role", Severity.DANGER, "bypasses row-level security",
    ),
    "a superuser": (
        "ALTER ROLE meridian_app SUPERUSER", "ALTER ROLE meridian_app NOSUPERUSER",
        "role", Severity.DANGER, "is a superuser",
    ),
    "a member of the owner": (
        "GRANT meridian_owner TO meridian_app", "REVOKE meridian_owner FROM meridian_app",
        "role", Severity.DANGER, "is a member of meridian_owner",
    ),
    "a role that may create": (
        "GRANT CREATE ON SCHEMA public TO meridian_app",
        "REVOKE CREATE ON SCHEMA public FROM meridian_app",
        "role", Severity.DANGER, "may create objects in schema public",
    ),
    "temporary tables": (
        "DO $$ BEGIN EXECUTE format('GRANT TEMP ON DATABASE %I TO meridian_app',"
        " current_database()); END $$",
        "DO $$ BEGIN EXECUTE format('REVOKE TEMP ON DATABASE %I FROM meridian_app',"
        " current_database()); END $$",
        "role", Severity.DANGER, "may create temporary tables",
    ),
    "an owner": (
        "CREATE TABLE public.mine (id int); ALTER TABLE public.mine OWNER TO meridian_app",
        "DROP TABLE public.mine",
        "role", Severity.DANGER, "owns mine",
    ),
    "settings for all": (
        "ALTER ROLE meridian_app SET statement_timeout = '1h'",
        "ALTER ROLE meridian_app RESET statement_timeout",
        "role", Severity.WARNING, "statement_timeout",
    ),
    "a disk that one tenant can fill": (
        "ALTER ROLE meridian_app RESET temp_file_limit",
        f"ALTER ROLE meridian_app SET temp_file_limit = '{APP_SETTINGS['temp_file_limit']}'",
        "role", Severity.WARNING, "temp_file_limit",
    ),
    "a path without the stand-ins": (
        "ALTER ROLE meridian_app RESET search_path",
        f"ALTER ROLE meridian_app SET search_path = {APP_SETTINGS['search_path']}",
        "role", Severity.WARNING, "search_path",
    ),
    "a function that was given back": (
        "GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC",
        "REVOKE EXECUTE ON FUNCTION pg_advisory_lock(bigint) FROM PUBLIC",
        "catalog", Severity.WARNING, "pg_advisory_lock",
    ),
    "an open catalog": (
        "GRANT SELECT ON pg_database TO PUBLIC", "REVOKE SELECT ON pg_database FROM PUBLIC",
        "catalog", Severity.WARNING, "pg_database",
    ),
    "a column of counts": (
        "GRANT SELECT (reltuples) ON pg_class TO PUBLIC",
        "REVOKE SELECT (reltuples) ON pg_class FROM PUBLIC",
        "catalog", Severity.WARNING, "reltuples",
    ),
    "procedural code": (
        "GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC", "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC",
        "catalog", Severity.WARNING, "plpgsql",
    ),
    "statements in the log": (
        "ALTER ROLE meridian_app SET log_min_duration_statement = 0",
        "ALTER ROLE meridian_app RESET log_min_duration_statement",
        "logs", Severity.WARNING, "log_min_duration_statement",
    ),
    "another key": (
        "UPDATE tenancy.secret SET context_key = sha256(context_key)",
        "SECURE",
        "context", Severity.DANGER, "key is not the deployment's",
    ),
    "a check that trusts everybody": (
        "CREATE OR REPLACE FUNCTION tenancy.current_tenant() RETURNS uuid LANGUAGE sql STABLE"
        " AS $$ SELECT nullif(split_part(current_setting('meridian.context', true), '.', 1),"
        " '')::uuid $$",
        "SECURE",
        "context", Severity.DANGER, "takes a bare tenant id for genuine",
    ),
    "a column that only one replica has": (
        'ALTER TABLE "{schema}".desk_tag ADD COLUMN colour text',
        'ALTER TABLE "{schema}".desk_tag DROP COLUMN colour',
        "drift", Severity.WARNING, "desk_tag.colour",
    ),
    "a budget beyond what the server keeps": (
        "UPDATE fabric.member SET log_budget = 1::bigint << 40",
        "UPDATE fabric.member SET log_budget = DEFAULT",
        "room", Severity.WARNING, "keeps no more than 2048 MB",
    ),
    "a table that is not captured": (
        'DROP TRIGGER fabric_delete ON "{schema}".desk_ticket',
        "SECURE",
        "tables", Severity.DANGER, "desk_ticket are not all captured",
    ),
    "a table that inherits": (
        'CREATE TABLE "{schema}".heir (PRIMARY KEY (id)) INHERITS ("{schema}".desk_tag)',
        'DROP TABLE "{schema}".heir',
        "tables", Severity.DANGER, "cannot be replicated: heir",
    ),
    "a trigger that is off in one replica": (
        'ALTER TABLE "{schema}".desk_ticket DISABLE TRIGGER fabric_insert',
        'ALTER TABLE "{schema}".desk_ticket ENABLE TRIGGER fabric_insert',
        "drift", Severity.WARNING, "fabric_insert",
    ),
}  # fmt: skip


def test_a_sound_cell_has_nothing_to_mend(pair, doctor):
    report = doctor(pair[0])
    assert mended(report) == []
    assert report.healthy
    checked = {check for check, _ in report.checked}
    assert checked >= {"settings", "cache", "tables", "role", "catalog", "context", "logs", "drift"}


@pytest.mark.parametrize("harm", HARMS)
def test_what_was_spoilt_is_found(tenants, doctor, spoil, control, harm: str):
    tenant = tenants["schema"][0]
    statement, cure, check, severity, words = HARMS[harm]
    secure = "SECURE" in cure
    spoil(
        tenant,
        statement.format(schema=tenant.schema, tenant=tenant.id),
        "SELECT 1" if secure else cure.format(schema=tenant.schema),
    )
    try:
        found = mended(doctor(tenant))
    finally:
        if secure:
            if "DROP POLICY" in cure:
                spoil(tenant, cure.partition(";")[0].format(schema=tenant.schema), "SELECT 1")
            call_command("cell", "secure", tenant.cell, stderr=io.StringIO(), stdout=io.StringIO())
    named = [one for one in found if one.check == check and words in one.what]
    assert named, found
    assert {one.severity for one in named} == {severity}
    assert all(one.next and one.where.startswith(tenant.cell) for one in named)


def test_an_index_of_shared_tables_without_the_tenant_is_found(shared_pair, doctor, spoil):
    spoil(
        shared_pair[0],
        "CREATE INDEX plain ON public.desk_ticket (title)",
        "DROP INDEX public.plain",
    )
    found = [one for one in mended(doctor(shared_pair[0])) if one.check == "tables"]
    assert any("plain" in one.what for one in found), found


def test_the_command_says_so_by_its_exit_status_and_in_one_document(tenants, spoil):
    tenant, out, progress = tenants["dedicated"][0], io.StringIO(), io.StringIO()
    call_command("doctor", "--json", "--cell", tenant.cell, stdout=out, stderr=progress)
    assert json.loads(out.getvalue())["healthy"] is True
    assert tenant.cell in progress.getvalue()
    spoil(tenant, "ALTER ROLE meridian_app CREATEDB", "ALTER ROLE meridian_app NOCREATEDB")
    out = io.StringIO()
    with pytest.raises(CommandError) as refused:
        call_command("doctor", "--json", "--cell", tenant.cell, stdout=out, stderr=progress)
    assert refused.value.returncode == 1
    document = json.loads(out.getvalue())
    assert document["healthy"] is False
    assert document["findings"][0]["severity"] == "danger"
    shown = io.StringIO()
    with pytest.raises(CommandError):
        call_command("doctor", "--cell", tenant.cell, stdout=shown, stderr=progress)
    assert "may create databases" in shown.getvalue()


def test_databases_and_schemas_of_nobody_are_found(tenants, control, spoil):
    tenant = tenants["schema"][0]
    spoil(tenant, "CREATE SCHEMA t_of_nobody", "DROP SCHEMA t_of_nobody")
    with cells.administrator(control, HOME) as admin:
        admin.execute("CREATE DATABASE cell_of_nobody")
    try:
        out = io.StringIO()
        with pytest.raises(CommandError):
            call_command("doctor", "--json", stdout=out, stderr=io.StringIO())
    finally:
        with cells.administrator(control, HOME) as admin:
            admin.execute("DROP DATABASE cell_of_nobody")
    found = " ".join(one["what"] for one in json.loads(out.getvalue())["findings"])
    assert "cell_of_nobody" in found
    assert "t_of_nobody" in found


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"DATABASE_ROUTERS": []}, "router"),
        ({"SESSION_ENGINE": "django.contrib.sessions.backends.cache"}, "Sessions"),
        ({"SESSION_COOKIE_DOMAIN": ".example.org"}, "Cookies"),
        ({"MIDDLEWARE": ["django.middleware.common.CommonMiddleware"]}, "No request"),
        ({"CACHES": {"default": {"BACKEND": "x.LocMemCache"}}}, "do not name the tenant"),
    ],
)
def test_settings_that_bind_nothing_are_found(changed, words: str):
    assert list(settings.check()) == []
    with override_settings(**changed):
        found = list(settings.check())
    assert [one for one in found if words in one.what and one.severity is Severity.DANGER]


def test_a_database_that_django_opens_by_itself_is_found(monkeypatch):
    monkeypatch.setitem(
        django_settings.DATABASES["default"], "ENGINE", "django.db.backends.postgresql"
    )
    assert any("opened by" in one.what for one in settings.check())


def test_who_somebody_is_may_not_be_asked_before_whose_request_it_is():
    names = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "gateway.middleware.tenant_middleware",
        "gateway.transactions.transaction_middleware",
    ]
    assert [one.what for one in settings._order(names)]
    assert not list(settings._order([names[1], names[0], names[2]]))


def test_a_cache_whose_keys_name_nobody_is_found():
    plain = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    bound = {"default": plain["default"] | {"KEY_FUNCTION": "gateway.cache.tenant_key"}}
    with override_settings(CACHES=bound):
        assert list(cache.check()) == []
    with override_settings(CACHES=plain):
        assert {one.severity for one in cache.check()} == {Severity.DANGER}
