"""What is played from a recording is what the steps make, for whichever tenant and region."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from regions.deployment import Deployment
from regions.topology import TenancyMode
from tenants.isolation import blueprint
from tenants.isolation.modes import isolation_of
from tenants.isolation.owner import owner
from tenants.isolation.recording import RecordedConnection, Recording, Script, play
from tenants.models import Blueprint
from tenants.seams import cell_spec, record_for
from tests.tenants.conftest import EU, onboard

CATALOG = """
SELECT 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
       coalesce(pg_get_expr(d.adbin, d.adrelid), '') || a.attidentity::text || a.attgenerated::text
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind = 'r'
UNION ALL
SELECT 'relation', c.relname, c.relkind::text, c.relrowsecurity::text, c.relforcerowsecurity::text,
       c.relacl::text
  FROM pg_class c WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'S')
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', ''
  FROM pg_constraint WHERE connamespace = %(schema)s::regnamespace
UNION ALL
SELECT 'index', tablename, indexname, indexdef, '', '' FROM pg_indexes
 WHERE schemaname = %(schema)s::text
UNION ALL
SELECT 'trigger', c.relname, t.tgname, pg_get_triggerdef(t.oid), t.tgenabled::text, ''
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
 WHERE c.relnamespace = %(schema)s::regnamespace AND NOT t.tgisinternal
UNION ALL
SELECT 'policy', tablename, policyname, roles::text, qual, with_check FROM pg_policies
 WHERE schemaname = %(schema)s::text
UNION ALL
SELECT 'function', proname, prosrc, proacl::text, '', '' FROM pg_proc
 WHERE pronamespace = %(schema)s::regnamespace
UNION ALL
SELECT 'schema', nspname, nspacl::text, '', '', '' FROM pg_namespace
 WHERE nspname = %(schema)s::text
UNION ALL
SELECT 'captured', rel, key::text, columns::text, '', '' FROM fabric.relation
 WHERE split_part(rel, '.', 1) = %(schema)s::text
"""
SEQUENCES = """
SELECT s.relname, q.seqincrement, pg_sequence_last_value(s.oid), q.seqstart
  FROM pg_sequence q JOIN pg_class s ON s.oid = q.seqrelid
 WHERE s.relnamespace = %(schema)s::regnamespace ORDER BY 1
"""


def shape(connection: psycopg.Connection[Any], schema: str, tenant: UUID) -> set[tuple[str, ...]]:
    """The whole catalog of a schema, without its name, its tenant's id, and the gaps that columns
    have left which a migration dropped."""
    rows = connection.execute(CATALOG, {"schema": schema}).fetchall()
    plain = {
        tuple(
            (value or "").replace(schema, "SCHEMA").replace(str(tenant), "TENANT") for value in row
        )
        for row in rows
    }
    assert {row[0] for row in plain} >= {"column", "index", "trigger", "policy", "captured"}
    return plain


@pytest.mark.parametrize("mode", ["schema", "dedicated"])
def test_a_tenant_from_the_blueprint_is_what_the_steps_make(
    tenants, deployment: Deployment, monkeypatch, mode: str
):
    assert blueprint.find(TenancyMode(mode)) is not None
    played = record_for(onboard(f"p{uuid4().hex[:8]}", mode))
    with monkeypatch.context() as patch:
        patch.setattr(blueprint, "find", lambda mode: None)
        stepped = onboard(f"s{uuid4().hex[:8]}", mode)
    for region in EU:
        with (
            owner(cell_spec(played.cell), region) as one,
            owner(cell_spec(stepped.cell_id), region) as other,
        ):
            first = shape(one, played.schema, played.id)
            assert first == shape(other, stepped.schema, stepped.id)
            node = deployment.region(region).node
            for connection, schema in ((one, played.schema), (other, stepped.schema)):
                drawn = connection.execute(SEQUENCES, {"schema": schema}).fetchall()
                steps = [increment for _, increment, _, _ in drawn]
                assert steps.count(32) >= 4
                fresh = f'"{schema}".desk_ticket_id_seq'
                row = connection.execute(f"SELECT last_value FROM {fresh}").fetchone()
                assert row == (node,)
    assert isolation_of(cell_spec(played.cell)).lacking() == []


def test_a_forged_blueprint_is_not_run(tenants):
    name = f"schema:{blueprint.fingerprint()}"
    row = Blueprint.objects.get(name=name)
    blueprint._verified.clear()
    try:
        row.script += ";\nCREATE TABLE forged ()"
        row.save(update_fields=["script"])
        assert blueprint.find(TenancyMode.SCHEMA) is None
        tenant = onboard(f"s{uuid4().hex[:8]}", "schema")
        with owner(cell_spec(tenant.cell_id), EU[0]) as connection:
            found = connection.execute("SELECT to_regclass(%s)", (f"{tenant.schema}.forged",))
            assert found.fetchone() == (None,)
    finally:
        blueprint._verified.clear()
    assert "forged" not in Blueprint.objects.get(name=name).script


def test_rows_that_wait_for_a_check_do_not_stop_the_tables_from_being_altered(tenants):
    """Migrations commit one by one; the recording of them is one transaction."""
    spec = cell_spec("eu-schema")
    recording = Recording()
    schema, tenant = f"t_{uuid4().hex[:12]}", uuid4()
    with owner(spec, EU[0], kind=RecordedConnection) as connection:
        assert isinstance(connection, RecordedConnection)
        connection.recording = recording
        table = f'"{schema}".node'
        for statement in (
            f'CREATE SCHEMA "{schema}"',
            f"CREATE TABLE {table} (id int PRIMARY KEY, up int REFERENCES {table}"
            " DEFERRABLE INITIALLY DEFERRED)",
            f"INSERT INTO {table} VALUES (1, 2), (2, 1)",
            f"ALTER TABLE {table} ADD COLUMN note text",
        ):
            connection.execute(statement)
        script = Script(recording.text, schema, tenant)
        other = f"t_{uuid4().hex[:12]}"
        connection.recording = None
        play(connection, other, script.for_tenant(other, uuid4()))
        assert connection.execute(f'SELECT count(*) FROM "{other}".node').fetchone() == (2,)
        for name in (schema, other):
            connection.execute(f'DROP SCHEMA "{name}" CASCADE')


def test_a_script_runs_only_where_its_names_can_be_told_apart():
    tenant = uuid4()
    script = Script(f'CREATE TABLE "t_0123456789ab".a (); -- {tenant}', "t_0123456789ab", tenant)
    other = uuid4()
    assert script.for_tenant("t_acme", other) == f'CREATE TABLE "t_acme".a (); -- {other}'
    for schema, owner_id in (("public", other), ('t_"x', other), ("t_acme", None)):
        with pytest.raises(ValueError, match=r"can't run in|different ways"):
            script.for_tenant(schema, owner_id)
    assert not Script("", "t_acme", tenant).portable
