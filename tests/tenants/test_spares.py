"""Spares on real servers: taken once each, by the law, and made anew when they are outdated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from desk.models import Ticket
from regions import cells
from regions.deployment import Deployment
from regions.mapfile import publish_document
from regions.models import Cell
from tenants import lifecycle
from tenants.context import tenant_scope
from tenants.errors import InvalidRequest
from tenants.isolation import blueprint
from tenants.isolation.modes import isolation_of
from tenants.isolation.schema import Schema
from tenants.models import Spare, Tenant
from tenants.placement import is_own_cell
from tenants.seams import cell_spec, record_for
from tenants.spares import spare_schemas, spares_in
from tests.tenants.conftest import EU, onboard, silent

SCHEMAS = "schema:eu-schema"
CELLS = "dedicated:eu-west,eu-central:active_active"


@pytest.fixture(autouse=True)
def pools(tenants, settings) -> Iterator[None]:
    settings.MERIDIAN_SPARES = {"schema": 0, "dedicated": 0}
    yield
    lifecycle.drain_pools(actor="test", progress=silent)
    assert not Spare.objects.exists()
    assert not [cell for cell in Cell.objects.filter(state="spare") if is_own_cell(cell.name)]


def fill(key: str, to: int) -> list[Spare]:
    (done,) = lifecycle.fill_pools(key=key, to=to, actor="test", progress=silent)
    assert done.problem == ""
    return list(Spare.objects.filter(pool=key))


def slug() -> str:
    return f"p{uuid4().hex[:10]}"


def schemas_of(deployment: Deployment, region: str) -> set[str]:
    with cells.administrator(deployment, region, "cell_eu_schema") as admin:
        rows = admin.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 't\\_%'")
        return {row[0] for row in rows}


@pytest.mark.parametrize(("mode", "key"), [("schema", SCHEMAS), ("dedicated", CELLS)])
def test_a_tenant_takes_a_spare_and_works_in_it_in_each_region(
    deployment: Deployment, monkeypatch, mode: str, key: str
):
    (spare,) = fill(key, 1)
    monkeypatch.setattr("tenants.isolation.base.Isolation.build", None)  # nothing is made now
    tenant = onboard(slug(), mode)
    assert (tenant.id, tenant.own_schema, tenant.cell_id) == (spare.id, spare.schema, spare.cell_id)
    assert tenant.state == "active"
    assert tenant.cell.state == "ready"
    assert not Spare.objects.filter(id=spare.id).exists()
    record = record_for(tenant)
    with tenant_scope(record):
        Ticket.objects.create(title="mine")
        assert Ticket.objects.get().title == "mine"
    assert isolation_of(cell_spec(tenant.cell_id)).lacking() == []
    for region in EU:
        with cells.administrator(deployment, region, cell_spec(tenant.cell_id).database) as admin:
            kept = admin.execute(
                "SELECT count(*) FROM fabric.relation WHERE split_part(rel, '.', 1) = %s",
                (record.schema,),
            ).fetchone()
            assert kept
            assert kept[0] > 5


def test_no_two_tenants_take_the_same_spare_and_the_last_gets_a_place_all_the_same():
    spares = fill(SCHEMAS, 3)
    names = [slug() for _ in range(5)]

    def one(name: str) -> Tenant:
        try:
            return onboard(name, "schema")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(5) as pool:
        made = list(pool.map(one, names))
    assert len({tenant.own_schema for tenant in made}) == 5
    assert {spare.id for spare in spares} <= {tenant.id for tenant in made}
    assert not Spare.objects.exists()


def test_a_spare_cell_is_chosen_by_its_regions_and_policy_and_never_by_name():
    (spare,) = fill(CELLS, 1)
    with pytest.raises(InvalidRequest, match="not ready"):
        onboard(slug(), "dedicated", cell=spare.cell_id)
    with pytest.raises(InvalidRequest, match="takes no tenants"):
        lifecycle.preview_move("acme-shared", cell=spare.cell_id)
    narrow = onboard(slug(), "dedicated", regions=["eu-west"])
    assert narrow.cell_id != spare.cell_id
    assert narrow.cell.region_names == ["eu-west"]
    assert Spare.objects.filter(id=spare.id).exists()


def test_what_is_outdated_broken_or_half_made_is_removed_and_made_anew(
    deployment: Deployment, monkeypatch
):
    outdated, half = fill(SCHEMAS, 2)
    Spare.objects.filter(id=outdated.id).update(fingerprint="of yesterday")
    Spare.objects.filter(id=half.id).update(state="making")
    assert onboard(slug(), "schema").id not in (outdated.id, half.id)

    def broken(self: Any, tenant: Any, progress: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Schema, "prepare_tenant", broken)
        (done,) = lifecycle.fill_pools(key=SCHEMAS, to=1, actor="test", progress=silent)
    assert (done.made, done.discarded, done.problem) == (0, 2, "the disk is full")
    assert spares_in("eu-schema") == {"making": 0, "ready": 0, "broken": 1}
    (fresh,) = fill(SCHEMAS, 1)
    assert (fresh.state, fresh.fingerprint) == ("ready", blueprint.fingerprint())
    assert spare_schemas("eu-schema") == {fresh.schema: "ready"}
    for region in EU:
        present = schemas_of(deployment, region)
        assert fresh.schema in present
        assert not {outdated.schema, half.schema} & present


def test_a_spare_of_another_writer_waits_until_every_region_was_heard(deployment: Deployment):
    (spare,) = fill(SCHEMAS, 1)
    lease = deployment.region(EU[0]).map_dir / "leases.json"
    publish_document(lease, {"cells": {"control": {"writer": EU[0], "epoch": 7}}})
    try:
        assert onboard(slug(), "schema").id != spare.id
        fill(SCHEMAS, 0)
        fill(SCHEMAS, 0)
        spare.refresh_from_db()
        assert spare.epoch == 0
        assert spare.doubted_at is not None
        assert onboard(slug(), "schema").id != spare.id
        with cells.administrator(deployment, EU[0], "control") as admin:
            heard = "UPDATE fabric.watermark SET stamp = %s << 8 WHERE region = %s"
            later = int((spare.doubted_at.timestamp() - 1577836800 + 60) * 1_000_000)
            admin.execute(heard, (later, "eu-central"))
            fill(SCHEMAS, 0)
            spare.refresh_from_db()
            assert spare.epoch == 0, "one region was not heard"
            admin.execute(heard, (later, "us-east"))
        fill(SCHEMAS, 0)
        spare.refresh_from_db()
        assert (spare.epoch, spare.doubted_at) == (7, None)
        assert onboard(slug(), "schema").id == spare.id
    finally:
        lease.unlink()
        with cells.administrator(deployment, EU[0], "control") as admin:
            admin.execute("UPDATE fabric.watermark SET stamp = 0")


def test_the_settings_say_how_many_there_are(settings):
    settings.MERIDIAN_SPARES = {"schema": 0, SCHEMAS: 2, "dedicated:EU:active_active": 1}
    done = lifecycle.fill_pools(actor="test", progress=silent)
    made = {one.pool: one.made for one in done if one.made}
    assert made == {SCHEMAS: 2, CELLS: 1}
    again = lifecycle.fill_pools(actor="test", progress=silent)
    assert sum(one.made + one.discarded for one in again) == 0
    (cell,) = Cell.objects.filter(state="spare", mode="dedicated")
    assert cell.region_names == EU


def test_a_pool_that_nobody_keeps_any_more_is_emptied(settings):
    settings.MERIDIAN_SPARES = {"dedicated:EU:follow_the_sun": 1}
    lifecycle.fill_pools(actor="test", progress=silent)
    assert Cell.objects.filter(state="spare", policy="follow_the_sun").exists()
    settings.MERIDIAN_SPARES = {}
    lifecycle.fill_pools(actor="test", progress=silent)
    assert not Cell.objects.filter(policy="follow_the_sun").exists()


def test_the_command_shows_fills_and_drains():
    def run(*words: str) -> Any:
        out = StringIO()
        call_command("cell", *words, "--json", stdout=out, stderr=StringIO())
        return json.loads(out.getvalue())

    (shown,) = run("pool", "fill", "--pool", SCHEMAS, "--to", "1")
    assert (shown["pool"], shown["ready"], shown["wanted"]) == (SCHEMAS, 1, 0)
    assert run("show", "eu-schema")["spares"] == {"making": 0, "ready": 1, "broken": 0}
    (shown,) = run("pool", "drain", "--pool", SCHEMAS)
    assert shown["ready"] == 0
    assert SCHEMAS in {one["pool"] for one in run("pool")}
    with pytest.raises(CommandError, match="No pool is called"):
        run("pool", "fill", "--pool", "schema:nowhere")
