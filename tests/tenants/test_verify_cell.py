"""`cell verify` in each mode: whose row differs, in whose table; repair; the schedule."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from psycopg import sql

from desk.models import Comment, Ticket
from regions import cells
from regions.deployment import AGENT_ROLE, Deployment
from regions.topology import database_name
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.models import AuditEntry
from tests.tenants.conftest import EU, HOME, MODES
from tests.tenants.moves import fresh
from tests.tenants.workers import until

AWAY = next(region for region in EU if region != HOME)


def verify(cell: str, *options: str) -> tuple[int, Any, str]:
    """Exit status, document and the one line of a refusal."""
    out = io.StringIO()
    try:
        call_command("cell", "verify", cell, *options, "--json", stdout=out, stderr=io.StringIO())
    except CommandError as refusal:
        return refusal.returncode, json.loads(out.getvalue() or "null"), str(refusal)
    return 0, json.loads(out.getvalue()), ""


def corrupt(deployment: Deployment, tenant: TenantRecord, statement: str, region: str) -> None:
    """As a superuser, behind the fabric's back."""
    database = database_name(tenant.cell)
    with cells.administrator(deployment, region, database) as admin:
        admin.execute("SET session_replication_role = replica")
        admin.execute(
            sql.SQL("SET search_path = {}").format(
                sql.Identifier(tenant.schema if tenant.mode == "schema" else "public")
            )
        )
        # What the tenant wrote may be on its way to this region.
        until(lambda: admin.execute(statement.encode()).rowcount == 1)


@pytest.mark.parametrize("mode", MODES)
def test_a_tenants_corrupt_lost_and_extra_rows_are_named_and_mended_and_nobody_elses(
    deployment: Deployment, places: dict[str, str], mode: str
):
    tenant, neighbour = fresh(places, mode), fresh(places, mode)
    with tenant_scope(tenant):
        flipped, lost, extra = Ticket.objects.order_by("pk")[:3]
        comment = Comment.objects.exclude(ticket__in=[flipped, lost, extra]).first()
        assert comment is not None
    corrupt(
        deployment, tenant, f"UPDATE desk_ticket SET title = 't!' WHERE id = {flipped.pk}", AWAY
    )
    corrupt(deployment, tenant, f"DELETE FROM desk_comment WHERE id = {comment.pk}", HOME)
    with tenant_scope(tenant):
        Comment.objects.filter(ticket=extra).delete()
        kept = Ticket.objects.create(title="kept")
    status, document, refusal = verify(tenant.cell)
    assert (status, document["equal"]) == (1, False)
    assert refusal == f"{tenant.cell}: 2 rows differ between {HOME}, {AWAY}"
    found = [(one["tenant"], one["table"].split(".")[1], one["key"], one["reason"])
             for one in document["differences"]]  # fmt: skip
    assert found == [
        (str(tenant.id), "desk_comment", {"id": str(comment.pk)}, f"missing in {HOME}"),
        (str(tenant.id), "desk_ticket", {"id": str(flipped.pk)}, "differs in title"),
    ]
    assert document["differences"][0]["regions"][HOME] is None

    status, document, _ = verify(tenant.cell, "--repair")
    assert (status, document["equal"], document["repaired_rows"]) == (0, True, 2)
    with tenant_scope(tenant):
        assert Ticket.objects.get(pk=flipped.pk).title == flipped.title
        assert Comment.objects.get(pk=comment.pk).body == comment.body
        assert Ticket.objects.filter(pk=kept.pk).exists()
    entry = AuditEntry.objects.filter(verb="repair_cell", subject=tenant.cell).latest("at")
    assert (entry.detail["rows"], entry.actor.startswith("operator:")) == (2, True)
    status, document, _ = verify(neighbour.cell)
    assert (status, document["differing_rows"]) == (0, 0)


def test_how_often_a_cell_is_compared_is_set_in_each_region(
    deployment: Deployment, places: dict[str, str]
):
    status, document, _ = verify(places["shared"], "--every", "6h")
    assert (status, document["verify_every_seconds"]) == (0, 21600.0)
    database = database_name(places["shared"])
    for region in EU:
        with cells.administrator(deployment, region, database) as admin:
            assert admin.execute(
                "SELECT verify_every = '6 hours' FROM fabric.member"
            ).fetchone() == (True,)
    assert verify(places["shared"], "--every", "never")[1]["verify_every_seconds"] is None
    assert verify(places["shared"], "--every", "1d")[0] == 0
    with pytest.raises(CommandError, match="is no interval"):
        call_command("cell", "verify", places["shared"], "--every", "soon")


def test_how_far_its_regions_may_run_apart_is_set_in_each_of_them(
    deployment: Deployment, places: dict[str, str]
):
    call_command("cell", "budget", places["shared"], "--log", "64MB", "--over", "refuse")
    database = database_name(places["shared"])
    for region in EU:
        with cells.administrator(deployment, region, database) as admin:
            assert admin.execute(
                "SELECT log_budget, over_budget FROM fabric.member"
            ).fetchone() == (2**26, "refuse")
    call_command("cell", "budget", places["shared"], "--log", "1GB", "--over", "let-go")
    with pytest.raises(CommandError, match="is no size"):
        call_command("cell", "budget", places["shared"], "--log", "much", "--over", "let-go")


def test_a_place_that_nobody_has_yet_may_be_half_there(
    deployment: Deployment, places: dict[str, str]
):
    """A spare is made in one region after the other, and whoever makes it may be killed."""
    tenant = fresh(places, "schema")
    place, database = "t_000000000000", database_name(tenant.cell)
    with cells.administrator(deployment, HOME, database) as admin:
        admin.execute(f"CREATE SCHEMA {place} CREATE TABLE desk_tag (id bigint PRIMARY KEY)")
        admin.execute(f"GRANT USAGE ON SCHEMA {place} TO {AGENT_ROLE}")
        admin.execute(
            "INSERT INTO fabric.relation (rel, key, columns) VALUES (%s, '{id}', '{id}')",
            (f"{place}.desk_tag",),
        )
        try:
            status, document, refusal = verify(tenant.cell)
            assert (status, refusal) == (0, ""), document
        finally:
            admin.execute(f"DROP SCHEMA {place} CASCADE")
            admin.execute("DELETE FROM fabric.relation WHERE rel LIKE %s", (f"{place}.%",))
