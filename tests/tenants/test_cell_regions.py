"""`cell add-region` and `cell remove-region`: asked of the law first, in every tenancy mode."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command

from desk.models import Ticket
from regions import cells
from regions.deployment import Deployment, Endpoint
from regions.models import Replica
from regions.replication import transport
from regions.topology import database_name
from tenants.context import tenant_scope
from tenants.databases import cell_alias, pinned_to
from tenants.lifecycle import create_cell
from tenants.models import AuditEntry
from tenants.seams import cell_spec, record_for
from tests.faults.world import wait_for
from tests.tenants.appliers import applying
from tests.tenants.conftest import EU, HOME, MODES, onboard, silent
from tests.tenants.moves import fill

AWAY = next(region for region in EU if region != HOME)


HEARD = "SELECT bool_and(stamp > 0) FROM fabric.watermark"
APPLIED = """
SELECT NOT EXISTS (SELECT FROM fabric.watermark w JOIN fabric.change c USING (origin)
                    WHERE c.arrival > w.arrival)
"""


def one(admin: psycopg.Connection[Any], query: str) -> Any:
    row = admin.execute(query.encode()).fetchone()
    return row and row[0]


@pytest.fixture(scope="module")
def followed(control: Deployment) -> Iterator[None]:
    with applying(control, HOME, "rg-"):
        yield


def cell(*arguments: str) -> Any:
    out = io.StringIO()
    call_command("cell", *arguments, "--json", stdout=out, stderr=io.StringIO())
    return json.loads(out.getvalue())


@pytest.mark.parametrize("mode", MODES)
def test_a_cell_in_use_gets_a_region_and_loses_it_again(
    deployment: Deployment, followed: None, mode: str
) -> None:
    name = f"rg-{mode}"
    create_cell(name, mode=mode, regions=[HOME], policy="active_active", actor="test",
                progress=silent)  # fmt: skip
    tenant = record_for(onboard(f"rg{mode}", mode, cell=name))
    fill(tenant)
    for region, reason in (
        ("us-east", "R0"), (HOME, "has a replica in eu-west already"), ("mars", "No region")
    ):  # fmt: skip
        with pytest.raises(CommandError, match=reason):
            cell("add-region", name, region)
    with cells.administrator(deployment, "us-east") as admin:
        assert not cells.database_exists(admin, database_name(name))

    assert cell("add-region", name, AWAY)["regions"] == [HOME, AWAY]
    verdict = cell("verify", name)
    assert (verdict["equal"], verdict["rows"] > 100) == (True, True)
    with tenant_scope(tenant), pinned_to(cell_alias(name, region=AWAY)):
        written = Ticket.objects.create(title="from the new region")

    with pytest.raises(CommandError, match="is the home of cell"):
        cell("remove-region", name, HOME)
    assert cell("remove-region", name, AWAY)["regions"] == [HOME]
    with tenant_scope(tenant):
        assert Ticket.objects.get(pk=written.pk).title == "from the new region"
    with cells.administrator(deployment, AWAY) as admin:
        assert not cells.database_exists(admin, database_name(name))
    assert list(Replica.objects.filter(cell=name).values_list("region_id", flat=True)) == [HOME]
    done = AuditEntry.objects.filter(subject=name).order_by("at").values_list("verb", flat=True)
    assert [verb for verb in done if "region" in verb] == ["add_region", "remove_region"]


def test_a_region_that_is_lost_for_good_is_taken_out_of_a_cell(
    deployment: Deployment, followed: None, settings: Any
) -> None:
    name = "rg-lost"
    create_cell(name, mode="shared", regions=[HOME, AWAY], policy="active_active", actor="test",
                progress=silent)  # fmt: skip
    tenant = record_for(onboard("rglost", "shared", cell=name))
    with pytest.raises(CommandError, match=f"PostgreSQL in {AWAY} answers: it is not lost"):
        cell("remove-region", name, AWAY, "--lost", "--yes")
    with pytest.raises(CommandError, match="for a region that is --lost"):
        cell("remove-region", name, AWAY, "--dry-run")

    # Nobody listens where it was, and the others have not heard of it for long.
    away = replace(deployment.region(AWAY), postgres=Endpoint("127.0.0.1", 1))
    settings.MERIDIAN_DEPLOYMENT = replace(deployment, regions={**deployment.regions, AWAY: away})
    database = database_name(name)
    with cells.administrator(deployment, HOME, database) as admin:
        wait_for("a heartbeat", lambda: one(admin, HEARD), 240)
        transport.unsubscribe(admin, cell_spec(name), sender=AWAY)
        wait_for("what has arrived", lambda: one(admin, APPLIED), 240)
        admin.execute("UPDATE fabric.watermark SET at = at - interval '1 hour'")
    foreseen = cell("remove-region", name, AWAY, "--lost", "--dry-run")
    assert (foreseen["dry_run"], foreseen["regions"]) == (True, [HOME])
    with pytest.raises(CommandError, match=r"had not sent is lost.*Repeat it with --yes"):
        cell("remove-region", name, AWAY, "--lost")
    for _ in range(2):
        document = cell("remove-region", name, AWAY, "--lost", "--yes")
        assert (document["regions"], document["loss"]) == ([HOME], foreseen["loss"])
    assert list(Replica.objects.filter(cell=name).values_list("region_id", flat=True)) == [HOME]
    with cells.administrator(deployment, HOME, database) as admin:
        kept = admin.execute(
            "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
        ).fetchall()
        assert kept == []
    with tenant_scope(tenant):
        Ticket.objects.create(title="it goes on")
    done = AuditEntry.objects.filter(subject=name).values_list("verb", flat=True)
    assert "expel_region" in done
