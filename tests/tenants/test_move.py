"""Moves between cells: the same content, nothing left, nobody else touched, nothing lost."""

from __future__ import annotations

import json
import re
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.db import connections
from django.template.loader import render_to_string

from console.tasks import move_tenant
from desk.models import Comment, Customer, Tag, Ticket
from regions.deployment import APP_ROLE, Deployment
from regions.errors import ResidencyDenied, UnknownCell
from regions.models import Cell
from regions.topology import database_name
from tenants import lifecycle
from tenants.context import tenant_scope
from tenants.errors import InvalidRequest, TenantNotActive, UnknownTenant
from tenants.models import AuditEntry, Move, Operation
from tenants.seams import cell_spec
from tests.tenants.conftest import EU, HOME, MODES, silent
from tests.tenants.moves import (
    content,
    fresh,
    leftovers,
    move,
    nothing_changes,
    now,
    target_of,
)
from tests.tenants.replicas import differences

# A cell made for one tenant doesn't tell whose it is.
OPAQUE = re.compile("d-[0-9a-f]{12}")
PAIRS = [(one, other) for one in MODES for other in MODES if one != other]


@pytest.mark.parametrize(("source", "target"), [*PAIRS, ("shared", "other")])
def test_a_move_brings_every_row_and_leaves_nothing(
    deployment: Deployment, places: dict[str, str], source: str, target: str
):
    neighbour, tenant = fresh(places, source), fresh(places, source)
    beside = content(neighbour)
    before = content(tenant)
    report = move(tenant, **target_of(places, target))
    moved = now(tenant)
    assert (moved.state, moved.cell) == ("active", report.target)
    assert moved.mode == ("shared" if target == "other" else target)
    assert content(moved) == before
    assert report.rows == sum(map(len, before.values())) + 3  # and the group's permissions
    assert leftovers(deployment, tenant) == {}
    assert content(neighbour) == beside
    for cell in {moved.cell, neighbour.cell}:
        assert differences(cell) == []
    if source == "dedicated":
        assert not Cell.objects.filter(name=tenant.cell).exists()
    with tenant_scope(moved):
        assert Ticket.objects.create(title="after").pk not in {row[0] for row in before["Ticket"]}
        for model in (Customer, Tag, Comment, User, Group):
            last = connections[model.objects.db].cursor()
            last.execute("SELECT nextval(pg_get_serial_sequence(%s, 'id'))", [model._meta.db_table])
            assert last.fetchone()[0] > max(row[0] for row in before[model.__name__])
    assert AuditEntry.objects.filter(verb="move", subject=tenant.slug, actor="test").count() == 1
    assert not Move.objects.filter(tenant_id=tenant.id).exists()


def test_a_tenant_can_come_back_to_a_cell_that_it_left(
    deployment: Deployment, places: dict[str, str]
):
    tenant = fresh(places, "shared")
    before = content(tenant)
    move(tenant, cell=places["schema"])
    move(tenant, cell=places["shared"])
    assert content(now(tenant)) == before
    with tenant_scope(now(tenant)):
        Ticket.objects.create(title="again at home")
    assert differences(places["shared"]) == []


def test_an_unlawful_target_is_refused_naming_the_rule_and_nothing_changes(
    places: dict[str, str],
):
    tenant = fresh(places, "shared")
    for where in (
        {"cell": places["us"]},
        {"mode": "dedicated", "regions": ["us-east"]},
        {"mode": "schema", "regions": [*EU, "us-east"]},
        {"cell": places["us"], "residency": "DE"},
        {"cell": places["other"], "residency": "DE"},
    ):
        with nothing_changes(tenant), pytest.raises(ResidencyDenied, match="M01"):
            move(tenant, **where)


def test_residency_is_asked_before_anything_else(places: dict[str, str]):
    tenant = fresh(places, "shared")
    lifecycle.suspend(tenant.slug, actor="test")
    with pytest.raises(ResidencyDenied, match="M01"):
        move(tenant, cell=places["us"])
    with pytest.raises(TenantNotActive, match="suspended"):
        move(tenant, cell=places["other"])


def test_a_policy_is_replaced_with_the_move_that_it_allows(places: dict[str, str]):
    tenant = fresh(places, "shared")
    move(tenant, mode="dedicated", regions=["eu-central"], residency="DE")
    assert now(tenant).residency == "DE"
    assert cell_spec(now(tenant).cell).regions == ("eu-central",)


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ({"cell": "nowhere"}, UnknownCell),
        ({"mode": "communal"}, InvalidRequest),
        ({"cell": "mv-shared"}, InvalidRequest),
        ({}, InvalidRequest),
        ({"cell": "mv-other", "mode": "shared"}, InvalidRequest),
        ({"mode": "dedicated", "policy": "anarchy"}, InvalidRequest),
    ],
)
def test_bad_input_changes_nothing(places: dict[str, str], where: dict, error: type[Exception]):
    tenant = fresh(places, "shared")
    with nothing_changes(tenant), pytest.raises(error):
        move(tenant, **where)
    with pytest.raises(UnknownTenant):
        lifecycle.move("nobody-there", cell=places["other"], actor="test", progress=silent)


def test_two_moves_of_one_tenant_do_not_run_at_once(places: dict[str, str]):
    tenant = fresh(places, "shared")
    seen = []

    def again(step: str, percent: int) -> None:
        if not seen:
            seen.append(step)
            with pytest.raises(TenantNotActive, match="another process"):
                move(tenant, cell=places["schema"])

    lifecycle.move(tenant.slug, cell=places["other"], actor="test", progress=again)
    assert seen


def run(*words: str) -> dict[str, Any]:
    out = StringIO()
    call_command("tenant", "move", *words, "--json", stdout=out, stderr=StringIO())
    document: dict[str, Any] = json.loads(out.getvalue())
    return document


def test_the_command_says_what_it_would_do_and_does_it(places: dict[str, str]):
    tenant = fresh(places, "shared")
    with nothing_changes(tenant):
        plan = run(tenant.slug, "--mode", "dedicated", "--dry-run")
    assert (plan["new_cell"], plan["regions"]) == (True, EU)
    assert OPAQUE.fullmatch(plan["to"])
    done = run(tenant.slug, "--mode", "dedicated")
    assert (done["mode"], done["state"]) == ("dedicated", "active")
    assert OPAQUE.fullmatch(done["cell"])
    assert done["pause_ms"] > 0
    back = run(tenant.slug, "--cell", places["shared"])
    assert back["rows"] == done["rows"]
    with pytest.raises(CommandError, match="M01"):
        run(tenant.slug, "--cell", places["us"])


def test_the_application_role_cannot_take_a_fence_down(
    deployment: Deployment, places: dict[str, str]
):
    dsn = deployment.dsn(HOME, database_name(places["shared"]), APP_ROLE)
    with (
        psycopg.connect(dsn) as session,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        session.execute("DELETE FROM tenancy.frozen")


def test_the_console_moves_a_tenant_and_shows_what_it_measured(places: dict[str, str]):
    tenant = fresh(places, "shared")
    operation = Operation.objects.create(
        verb="move", slug=tenant.slug, actor="me", arguments={"cell": places["other"]}
    )
    move_tenant(str(operation.id))
    operation.refresh_from_db()
    assert (operation.state, operation.error) == (Operation.State.DONE, "")
    assert now(tenant).cell == places["other"]
    result = operation.arguments["result"]
    assert (result["from"], result["to"]) == (tenant.cell, places["other"])
    assert result["pause_ms"] > 0
    assert f"{result['rows']}" in render_to_string(
        "console/operation_progress.html", {"operation": operation, "ended": True, "result": result}
    )
