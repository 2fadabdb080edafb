"""Plans and overrides in the control cell: by command, audited, published to every region."""

from __future__ import annotations

import json
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from tenants import lifecycle
from tenants.directory import TenantRecord, parse_directory
from tenants.errors import InvalidRequest
from tenants.limits.values import UNLIMITED, resolve
from tenants.models import AuditEntry, Plan, Tenant
from tenants.seams import find_tenant, local_directory, record_for
from tests.tenants.conftest import onboard, silent


def run(*words: str):
    out = StringIO()
    call_command(*words, "--json", stdout=out, stderr=StringIO())
    return json.loads(out.getvalue())


def name() -> str:
    return f"p{uuid4().hex[:10]}"


@pytest.fixture
def tenant(tenants) -> TenantRecord:
    """A tenant that has its plan back afterwards."""
    record = tenants["shared"][0]
    yield record
    Tenant.objects.filter(id=record.id).update(plan=Plan.DEFAULT, limits={})


def published(slug: str) -> TenantRecord:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT publish.directory()")
        return parse_directory(json.loads(cursor.fetchone()[0])).by_slug[slug]


def test_nothing_changes_for_tenants_that_nobody_gave_a_plan(tenants):
    record = tenants["dedicated"][0]
    assert record_for(find_tenant(record.slug)).limits is UNLIMITED
    assert published(record.slug).limits is UNLIMITED


def test_a_plan_is_made_changed_and_removed_by_command(control):
    plan = name()
    made = run("plan", "set", plan, "--set", "rows=5", "--set", "bytes=1MiB")
    assert (made["limits"]["rows"], made["limits"]["bytes"]) == (5, 1 << 20)
    assert made["limits"]["tasks"] is None
    assert run("plan", "set", plan, "--set", "rows=unlimited")["limits"]["rows"] is None
    assert plan in {entry["name"] for entry in run("plan", "list")}
    run("plan", "delete", plan)
    with pytest.raises(CommandError, match="No plan is called"):
        run("plan", "show", plan)
    verbs = AuditEntry.objects.filter(subject=plan).order_by("at").values_list("verb", flat=True)
    assert list(verbs) == ["set_plan", "set_plan", "delete_plan"]


def test_a_tenants_limits_are_its_plans_with_its_own_beside_them(tenant):
    plan = name()
    run("plan", "set", plan, "--set", "rows=5", "--set", "tasks=2")
    done = run("tenant", "limits", tenant.slug, "--plan", plan, "--set", "rows=9")
    assert (done["plan"], done["limits"]["rows"], done["limits"]["tasks"]) == (plan, 9, 2)
    assert done["override"] == {"rows": 9}
    assert run("tenant", "limits", tenant.slug) == done
    expected = resolve({"tasks": 2}, {"rows": 9})
    assert published(tenant.slug).limits == expected
    assert record_for(find_tenant(tenant.slug)).limits == expected
    assert local_directory().current().by_slug[tenant.slug].limits == expected
    back = run("tenant", "limits", tenant.slug, "--set", "rows=plan")
    assert (back["limits"]["rows"], back["override"]) == (5, {})
    entry = AuditEntry.objects.filter(subject=tenant.slug, verb="set_limits").first()
    assert entry.detail["after"] == {"plan": plan, "limits": {}}


def test_a_change_of_a_plan_reaches_the_tenants_that_have_it(tenant):
    plan = name()
    run("plan", "set", plan, "--set", "rows=5")
    run("tenant", "limits", tenant.slug, "--plan", plan)
    run("plan", "set", plan, "--set", "rows=6")
    assert published(tenant.slug).limits.rows == 6


def test_the_documents_version_grows_with_a_plan(control):
    def version() -> int:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT publish.directory() -> 'version'")
            return int(cursor.fetchone()[0])

    before = version()
    run("plan", "set", name(), "--set", "rows=5")
    assert version() > before


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("tenant", "limits", "{slug}", "--plan", "nothing-like-it"), "No plan is called"),
        (("tenant", "limits", "{slug}", "--set", "rows=many"), "is no limit"),
        (("tenant", "limits", "{slug}", "--set", "rows"), "NAME=VALUE"),
        (("tenant", "limits", "{slug}", "--set", "speed=5"), "is no limit"),
        (("plan", "set", "Bad_Name", "--set", "rows=5"), "can't be"),
        (("plan", "set", "unlimited", "--set", "rows=5"), "limits nothing"),
        (("plan", "delete", "unlimited"), "stays"),
        (("plan", "delete", "nothing-like-it"), "No plan is called"),
    ],
)
def test_bad_input_changes_nothing(tenant, words, reason):
    before = (AuditEntry.objects.count(), list(Plan.objects.values()))
    with pytest.raises(CommandError, match=reason):
        run(*(word.format(slug=tenant.slug) for word in words))
    assert (AuditEntry.objects.count(), list(Plan.objects.values())) == before


def test_a_plan_that_tenants_have_is_not_removed(tenant):
    plan = name()
    run("plan", "set", plan, "--set", "rows=5")
    run("tenant", "limits", tenant.slug, "--plan", plan)
    with pytest.raises(CommandError, match="1 tenants have"):
        run("plan", "delete", plan)


def test_a_tenant_is_onboarded_with_its_plan(tenants):
    made = onboard(name(), "shared", plan="starter")
    limits = record_for(find_tenant(made.slug)).limits
    assert (limits.rows, limits.connections) == (100_000, 6)
    with pytest.raises(InvalidRequest):
        lifecycle.provision(name(), mode="shared", plan="none", actor="test", progress=silent)
