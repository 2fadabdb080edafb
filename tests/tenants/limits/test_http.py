"""A limited tenant's own view: what it is refused, what it is told, and what it is not charged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from desk.models import Customer
from gateway import admission
from regions.deployment import Deployment
from tenants import tokens
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.limits import rounds, store, tally, warned
from tenants.limits.connections import holders
from tenants.limits.counts import Counts
from tenants.limits.values import resolve
from tenants.models import Usage
from tenants.seams import find_tenant, record_for
from tests.gateway import maps
from tests.tenants.conftest import EU, HOME

Serve = Callable[..., Client]


@pytest.fixture
def serve(pair, deployment: Deployment, valkey: str, settings) -> Iterator[Serve]:
    """`serve(rows=5)`: this process is eu-west's, and the first of the two has this limit."""
    settings.MERIDIAN_REGION = HOME
    for cached in (admission.gate_of, store.store_of, tally.tally_of, warned.warnings_of):
        cached.cache_clear()
    store.store_of(HOME).client.flushdb()
    folder = deployment.region(HOME).map_dir
    before = {path: path.read_bytes() for path in folder.glob("*.json")}

    def entry(tenant: TenantRecord, **fields: Any) -> dict[str, Any]:
        return maps.tenant(
            tenant.slug,
            tenant.cell,
            id=tenant.id,
            mode=tenant.mode,
            schema=tenant.schema,
            hosts=list(tenant.hosts),
            **fields,
        )

    def make(**limits: int) -> Client:
        mine, other = pair
        maps.publish(
            folder,
            cells=[
                maps.cell("control", HOME),
                *(
                    {**maps.cell(cell, *EU, policy="active_active"), "mode": mine.mode}
                    for cell in {mine.cell, other.cell}
                ),
            ],
            tenants=[entry(mine, plan="small", limits=limits), entry(other)],
            writers={"control": HOME},
        )
        bearer = f"Bearer {tokens.issue(mine)}"
        return Client(headers={"host": mine.hosts[0], "authorization": bearer})

    with tenant_scope(pair[0]):
        Customer.objects.all().delete()
    yield make
    tally.tally_of(HOME).flush()
    make()
    rounds.watch_region(deployment, HOME)
    for path in folder.glob("*.json"):
        path.unlink()
    for path, content in before.items():
        path.write_bytes(content)
    connections.close_all()


def add(client: Client, number: int) -> Any:
    body = {"name": "Ann", "email": f"ann{number}@example.org"}
    return client.post("/api/desk/customers", body, content_type="application/json")


def measure(deployment: Deployment) -> None:
    client = store.store_of(HOME).client
    for turn in client.keys("meter:*"):
        client.delete(turn)
    rounds.meter_region(deployment, HOME)


def test_a_tenant_at_its_quota_is_told_what_it_uses_and_can_make_room(
    pair, serve: Serve, deployment: Deployment
):
    acme = serve()
    made = add(acme, 1)
    assert made.status_code == 201
    measure(deployment)
    rows = acme.get("/api/limits").json()["held"]["rows"]
    acme = serve(rows=rows)
    rounds.watch_region(deployment, HOME)
    refused = add(acme, 2)
    assert refused.status_code == 507
    told = refused.json()
    assert told["type"] == "urn:meridian:problem:quota-exceeded"
    assert (told["limit"], told["used"], told["allowed"]) == ("rows", rows, rows)
    assert acme.get("/api/limits").json()["quotas"] == [
        {"what": "rows", "used": rows, "allowed": rows, "state": "over"}
    ]
    path = f"/api/desk/customers/{made.json()['id']}"
    changed = acme.patch(path, {"name": "Anna"}, content_type="application/json")
    assert changed.json()["name"] == "Anna"
    assert acme.delete(path).status_code == 204
    measure(deployment)
    assert add(acme, 2).status_code == 201


def test_from_four_fifths_on_every_answer_warns(pair, serve: Serve, deployment: Deployment):
    acme = serve()
    add(acme, 1)
    measure(deployment)
    rows = acme.get("/api/limits").json()["held"]["rows"]
    for allowed, told in ((rows * 2, None), (rows, "rows=100%")):
        acme = serve(rows=allowed)
        rounds.watch_region(deployment, HOME)
        warned.warnings_of(HOME).refresh()
        assert acme.get("/api/limits").headers.get("X-Quota") == told
    page = Client(headers={"host": "127.0.0.1"}).get("/metrics").content.decode()
    assert 'meridian_tenants_by_quota{region="eu-west",state="over"} 1.0' in page
    assert not Client(headers={"host": pair[1].hosts[0]}).get("/").has_header("X-Quota")


def test_a_tenant_sees_its_limits_and_its_use_and_nobody_elses(pair, serve: Serve, deployment):
    acme = serve(requests_per_minute=60_000, rows=10**6)
    other = Client(headers={"host": pair[1].hosts[0]})
    for _ in range(3):
        acme.get("/api/desk/customers")
        other.get("/api/desk/customers")
    tally.tally_of(HOME).flush()
    told = acme.get("/api/limits").json()
    assert (told["plan"], told["region"]) == ("small", HOME)
    assert told["limits"]["requests_per_minute"] == 60_000
    assert told["limits"]["tasks"] is None
    assert told["used"]["requests"] == 3
    assert other.get("/api/limits").status_code == 401
    stolen = Client(
        headers={"host": pair[1].hosts[0], "authorization": f"Bearer {tokens.issue(pair[0])}"}
    )
    assert stolen.get("/api/limits").status_code == 401


def test_the_api_describes_limits(pair, serve: Serve):
    document = serve().get("/api/openapi.json").json()
    assert "get" in document["paths"]["/api/limits"]


def test_a_tenant_cannot_raise_its_limits_through_its_own_host(pair, serve: Serve):
    acme = serve(requests_per_minute=60_000)
    for method in (acme.post, acme.put, acme.patch, acme.delete):
        answer = method(
            "/api/limits", {"requests_per_minute": None}, content_type="application/json"
        )
        assert answer.status_code in (404, 405)
    assert acme.get("/console/tenants/plan/").status_code == 404


def test_use_reaches_the_control_cell_by_day_and_region(pair, serve: Serve, deployment):
    acme = serve(requests_per_minute=1, burst=2)
    assert [acme.get("/").status_code for _ in range(4)] == [200, 200, 429, 429]
    tally.tally_of(HOME).flush()
    measure(deployment)
    rounds.report_usage(HOME)
    row = Usage.objects.get(tenant=pair[0].id, region=HOME)
    assert (row.requests, row.refused) == (4, 2)
    assert row.rows == Counts(store.store_of(HOME)).held([pair[0].id])[pair[0].id].rows
    assert rounds.report_usage(HOME) == 0
    acme.get("/")
    tally.tally_of(HOME).flush()
    assert rounds.report_usage(HOME) == 1
    row.refresh_from_db()
    assert row.requests == 5
    Usage.objects.all().delete()


def test_counts_wait_while_the_store_does_not_answer(pair, serve: Serve, monkeypatch):
    acme = serve()
    counted = tally.tally_of(HOME)
    monkeypatch.setattr(type(counted._store), "up", False)
    acme.get("/")
    counted.flush()
    monkeypatch.undo()
    acme.get("/")
    counted.flush()
    deadline = time.monotonic() + 60
    while acme.get("/api/limits").json()["used"]["requests"] < 2:
        assert time.monotonic() < deadline


def test_the_request_path_and_the_registry_agree_on_a_tenants_limits(pair, serve: Serve):
    assert record_for(find_tenant(pair[0].slug)).limits == pair[0].limits


def test_a_request_that_finds_no_connection_gets_429(pair, serve: Serve):
    acme = serve(connections=1)
    limited = replace(pair[0], limits=resolve({"connections": 1}, {}))
    holders.forget()
    holders().enter(limited, kept := Event())
    refused = [add(acme, 1), acme.get("/api/desk/customers")]
    holders().leave(limited.id, kept)
    for answer in refused:
        assert (answer.status_code, answer["Retry-After"]) == (429, "1")
        told = answer.json()
        assert told["type"] == "urn:meridian:problem:too-many-connections"
        assert (told["limit"], told["allowed"], told["plan"]) == ("connections", 1, "small")
    assert add(acme, 1).status_code == 201
    page = Client(headers={"host": "127.0.0.1"}).get("/metrics").content.decode()
    assert 'meridian_limited_requests_total{limit="connections",region="eu-west"}' in page
    holders.forget()
