"""The planner expects of a tenant's table what is in it: a policy costs no index."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.core.management import call_command

from desk.models import Tag
from regions.deployment import Deployment
from regions.topology import CellSpec
from tenants.backend.context import context_statement
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.isolation.owner import owner
from tenants.seams import cell_spec
from tests.tenants.conftest import HOME

ROWS = 400
EARLIER = "((SELECT tenancy.current_tenant()) = '{}'::uuid)"
Raw = Callable[[TenantRecord], psycopg.Connection[Any]]
Plan = Callable[[TenantRecord, str], dict[str, Any]]


@pytest.fixture
def plan(raw: Raw, control: Deployment) -> Plan:
    def explain(tenant: TenantRecord, query: str) -> dict[str, Any]:
        key = control.context_key(tenant.cell)
        before = context_statement(key, tenant.id, tenant.schema, int(time.time()) + 60)
        cursor = raw(tenant).execute(before + b"EXPLAIN (FORMAT JSON) " + query.encode())
        while cursor.nextset():
            pass
        found: dict[str, Any] = cursor.fetchall()[0][0][0]["Plan"]
        return found

    return explain


@pytest.fixture
def tags(pair: tuple[TenantRecord, TenantRecord]) -> TenantRecord:
    """A tenant with many, counted by the server."""
    for tenant in pair:
        with tenant_scope(tenant):
            Tag.objects.all().delete()
            Tag.objects.bulk_create([Tag(name=f"tag {number}") for number in range(ROWS)])
    _as_owner(cell_spec(pair[0].cell), f'VACUUM ANALYZE "{pair[0].schema}".desk_tag')
    return pair[0]


def test_the_planner_expects_the_tenants_rows(tags: TenantRecord, plan: Plan):
    assert ROWS / 2 < plan(tags, "SELECT * FROM desk_tag")["Plan Rows"] <= 2 * ROWS


def test_the_newest_rows_come_from_the_index(tags: TenantRecord, plan: Plan):
    newest = plan(tags, "SELECT * FROM desk_tag ORDER BY id DESC LIMIT 5")
    assert [each["Node Type"] for each in newest["Plans"] if "Relation Name" in each] == [
        "Index Scan"
    ]


@pytest.mark.parametrize("pair", ["schema", "dedicated"], indirect=True)
def test_a_policy_of_an_earlier_version_is_renewed(tags: TenantRecord, plan: Plan):
    earlier = EARLIER.format(tags.id)
    spec = cell_spec(tags.cell)
    _as_owner(
        spec,
        f'ALTER POLICY tenant_rows ON "{tags.schema}".desk_tag'
        f" USING ({earlier}) WITH CHECK ({earlier})",
    )
    assert plan(tags, "SELECT * FROM desk_tag")["Plan Rows"] < ROWS / 50
    call_command("cell", "secure", tags.cell, stderr=io.StringIO(), stdout=io.StringIO())
    assert plan(tags, "SELECT * FROM desk_tag")["Plan Rows"] > ROWS / 2


def _as_owner(spec: CellSpec, statement: str) -> None:
    with owner(spec, HOME) as connection:
        connection.execute(statement.encode())
