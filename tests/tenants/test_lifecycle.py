"""Onboarding and its opposite: bad input changes nothing, erased means gone everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from desk.models import Customer
from regions import cells
from regions.deployment import Deployment
from regions.errors import InvalidPolicy, ResidencyDenied, UnknownCell, UnknownRegion
from regions.models import Cell
from regions.topology import database_name
from tenants import lifecycle, tokens
from tenants.context import tenant_scope
from tenants.errors import InvalidRequest, SlugTaken, TenantNotActive, UnknownTenant
from tenants.isolation.schema import Schema
from tenants.models import AuditEntry, Domain, Operation, Tenant
from tenants.placement import is_own_cell
from tenants.seams import find_tenant, record_for
from tenants.tasks import provision_tenant
from tests.tenants.conftest import onboard, silent

ROOT = Path(__file__).parents[2]


def slug() -> str:
    return f"s{uuid4().hex[:10]}"


def counts() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (Tenant, Domain, Cell, AuditEntry))


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"slug": "Bad_Slug"}, InvalidRequest),
        ({"slug": "acme-shared"}, SlugTaken),
        ({"mode": "communal"}, InvalidRequest),
        ({"mode": "control"}, InvalidRequest),
        ({"cell": "nowhere"}, UnknownCell),
        ({"cell": "eu-schema"}, InvalidRequest),
        ({"regions": ["mars"]}, UnknownRegion),
        ({"regions": ["us-east"]}, ResidencyDenied),
        ({"residency": "ATLANTIS"}, InvalidPolicy),
        ({"policy": "anarchy"}, InvalidRequest),
        ({"residency": "US", "cell": "eu-shared"}, ResidencyDenied),
    ],
)
def test_bad_input_changes_nothing(tenants, wrong: dict, error: type[Exception]):
    before = counts()
    request = {"slug": slug(), "mode": "shared", "residency": "EU", **wrong}
    with pytest.raises(error):
        lifecycle.provision(request.pop("slug"), **request, actor="test", progress=silent)
    assert counts() == before


def test_the_refusal_of_an_unlawful_region_names_its_rule(tenants):
    with pytest.raises(ResidencyDenied, match=r"\[[A-Z]\d\d"):
        onboard(slug(), "shared", regions=["us-east"])


def test_an_eu_tenants_database_is_in_the_eu_regions_only(tenants, deployment: Deployment):
    for mode, (tenant, _) in tenants.items():
        database = database_name(tenant.cell)
        present = []
        for region in deployment.regions:
            with cells.administrator(deployment, region) as admin:
                found = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
                if found.fetchone():
                    present.append(region)
        assert present == ["eu-west", "eu-central"], mode


def test_tenants_under_the_same_law_share_a_cell_unless_it_is_dedicated(tenants):
    assert tenants["shared"][0].cell == tenants["shared"][1].cell == "eu-shared"
    assert tenants["schema"][0].cell == tenants["schema"][1].cell == "eu-schema"
    own = {tenant.cell for tenant in tenants["dedicated"]}
    assert len(own) == 2
    assert all(is_own_cell(name) for name in own)


def test_no_name_in_a_cells_catalog_says_who_its_tenants_are(tenants, deployment: Deployment):
    tenant = tenants["schema"][0]
    with cells.administrator(deployment, "eu-west", "cell_eu_schema") as admin:
        names = [row[0] for row in admin.execute("SELECT nspname FROM pg_namespace")]
    assert tenant.schema in names
    assert not [name for name in names if "acme" in name or "globex" in name]


def test_a_tenant_is_suspended_and_resumed_with_an_audit_trail(tenants):
    name = onboard(slug(), "shared").slug
    assert lifecycle.suspend(name, actor="ann").state == "suspended"
    assert lifecycle.resume(name, actor="ann").state == "active"
    done = AuditEntry.objects.filter(subject=name, actor="ann").values_list("verb", flat=True)
    assert set(done) == {"suspend", "resume"}


@pytest.mark.parametrize("mode", ["shared", "schema", "dedicated"])
def test_erasing_removes_the_data_everywhere_and_frees_the_slug(
    tenants, deployment: Deployment, mode: str
):
    tenant = onboard(slug(), mode)
    record = record_for(tenant)
    with tenant_scope(record):
        Customer.objects.create(name="Gone", email="gone@example.org")
    lifecycle.erase(tenant.slug, actor="test", progress=silent)
    with pytest.raises(UnknownTenant):
        find_tenant(tenant.slug)
    gone = Tenant.objects.get(id=tenant.id)
    assert gone.state == "erased"
    assert not Domain.objects.filter(tenant=gone).exists()
    database = database_name(tenant.cell_id)
    for region in ("eu-west", "eu-central"):
        with cells.administrator(deployment, region) as admin:
            exists = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
            assert (exists.fetchone() is None) == (mode == "dedicated")
        if mode == "dedicated":
            continue
        with cells.administrator(deployment, region, database) as admin:
            if mode == "schema":
                found = admin.execute("SELECT to_regnamespace(%s)", (record.schema,)).fetchone()
                assert found == (None,)
            else:
                rows = admin.execute(
                    "SELECT count(*) FROM desk_customer WHERE tenant_id = %s", (tenant.id,)
                )
                assert rows.fetchone() == (0,)
            for table in ("change", "tombstone", "conflict"):
                left = admin.execute(
                    f"SELECT count(*) FROM fabric.{table} WHERE tenant = %s", (tenant.id,)
                )
                assert left.fetchone() == (0,), table
    again = onboard(tenant.slug, "shared")
    assert again.id != tenant.id
    with pytest.raises(TenantNotActive):
        lifecycle.erase(gone.slug, actor="test", progress=silent)


def test_a_failed_onboarding_leaves_nothing_and_can_be_repeated(tenants, monkeypatch):
    name = slug()

    def broken(self, tenant, progress):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Schema, "prepare_tenant", broken)
        with pytest.raises(Exception, match="the disk is full"):
            onboard(name, "schema")
    assert Tenant.objects.get(slug=name).state == "failed"
    assert onboard(name, "schema").state == "active"


def test_an_operation_reports_its_progress_and_its_end(tenants):
    arguments = {"mode": "shared", "residency": "EU", "policy": "active_active"}
    good = Operation.objects.create(
        verb="provision", slug=slug(), arguments=arguments, actor="console"
    )
    bad = Operation.objects.create(
        verb="provision", slug="acme-shared", arguments=arguments, actor="console"
    )
    for operation in (good, bad):
        provision_tenant.apply(args=[str(operation.id)], throw=True)
        operation.refresh_from_db()
    assert (good.state, good.percent) == ("done", 100)
    assert bad.state == "failed"
    assert "taken" in bad.error


def run(*words: str) -> dict:
    out = StringIO()
    call_command(*words, "--json", stdout=out, stderr=StringIO())
    return json.loads(out.getvalue())


def test_the_commands_print_their_documents(tenants):
    name = slug()
    made = run("tenant", "create", name, "--mode", "shared", "--policy", "active_active")
    assert set(made) >= {
        "id", "slug", "mode", "cell", "host", "regions", "writer", "policy", "residency", "state"
    }  # fmt: skip
    assert (made["host"], made["state"]) == (f"{name}.localhost", "active")
    assert made["regions"] == ["eu-west", "eu-central"]
    assert tokens.verify(made["api_token"], record_for(find_tenant(name)))
    assert run("tenant", "show", name)["id"] == made["id"]
    assert name in {entry["slug"] for entry in run("tenant", "list")}
    second = run("tenant", "token", name)["api_token"]
    assert second != made["api_token"]
    assert run("cell", "list")


def test_erasing_needs_a_yes(tenants):
    with pytest.raises(CommandError, match="--yes"):
        call_command("tenant", "erase", "acme-shared", stderr=StringIO())


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (("create", "x", "--mode", "communal"), 2, "invalid choice"),
        (("show", "nobody-there"), 1, "No tenant is called"),
    ],
)
def test_exit_statuses_and_one_line_reasons(tenants, words, status: int, reason: str):
    done = subprocess.run(
        [sys.executable, "manage.py", "tenant", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"},
    )
    assert done.returncode == status
    assert reason in done.stderr
    assert done.stdout == ""
    if status == 1:
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_cell_with_a_lease_is_made_before_it_has_a_writer(control):
    cell = lifecycle.create_cell(
        slug(),
        mode="shared",
        regions=["us-east"],
        policy="active_passive",
        actor="test",
        progress=silent,
    )
    assert (cell.state, cell.region_names) == ("ready", ["us-east"])
    assert onboard(slug(), "shared", "US", cell=cell.name).state == "active"
