"""The console on a real control cell: three clusters, and eu-west's queue in a real Valkey."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import redis
from django.contrib.auth.models import Permission, User
from django.db import connections
from django.test import Client

from regions import bootstrap
from regions.deployment import ADMIN_ROLE, CONTROL_CELL, CONTROL_DATABASE, Deployment
from regions.models import Cell, Region, Replica
from tenants.models import AuditEntry, Domain, Operation, Spare, Tenant
from tests.gateway import maps

HERE = "eu-west"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages wait until every probe has ended: a region that is only slow would be shown as down."""
    monkeypatch.setattr("console.live.snapshot.DEADLINE", 240.0)


@pytest.fixture(scope="session")
def control_cell(deployment: Deployment) -> Deployment:
    """The control cell's databases, with eu-west's gate held open as its agent would."""
    bootstrap.databases(deployment, progress=lambda _: None)
    dsn = deployment.dsn(HERE, CONTROL_DATABASE, ADMIN_ROLE)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("UPDATE fabric.gate SET epoch = 1, valid_until = 'infinity'")
    bootstrap.records(deployment, lambda: "control", progress=lambda _: None)
    return deployment


@pytest.fixture
def registry(control_cell: Deployment, settings) -> Iterator[Deployment]:
    """One cell with one tenant, seen from eu-west, whose map says that it writes."""
    settings.MERIDIAN_REGION = HERE
    folder = control_cell.region(HERE).map_dir
    before = {path: path.read_bytes() for path in folder.glob("*.json")}
    maps.publish(
        folder,
        cells=[maps.cell("control", *control_cell.regions)],
        writers={CONTROL_CELL: HERE, "console-eu": HERE},
    )
    cell = Cell.objects.create(
        name="console-eu", mode="shared", policy="active_passive", state="ready"
    )
    for priority, region in enumerate((HERE, "eu-central")):
        Replica.objects.create(cell=cell, region=Region.objects.get(name=region), priority=priority)
    acme = Tenant.objects.create(slug="console-acme", cell=cell, residency="EU", state="active")
    Domain.objects.create(host="console-acme.localhost", tenant=acme)
    yield control_cell
    slugs = ["console-acme"]
    AuditEntry.objects.filter(subject__in=[*slugs, "console-eu"]).delete()
    Domain.objects.filter(tenant__slug__in=slugs).delete()
    Tenant.objects.filter(slug__in=slugs).delete()
    Replica.objects.filter(cell_id="console-eu").delete()
    Cell.objects.filter(name="console-eu").delete()
    Operation.objects.all().delete()
    User.objects.exclude(username="operator").delete()
    for path in folder.glob("*.json"):
        path.unlink()
    for path, content in before.items():
        path.write_bytes(content)
    connections.close_all()


@pytest.fixture
def schema_cell(registry: Deployment) -> Iterator[Cell]:
    """A second cell, where tenants have schemas."""
    name = "console-schema"
    cell = Cell.objects.create(name=name, mode="schema", policy="active_passive", state="ready")
    Replica.objects.create(cell=cell, region=Region.objects.get(name=HERE), priority=0)
    yield cell
    Spare.objects.filter(cell=cell).delete()
    Replica.objects.filter(cell=cell).delete()
    cell.delete()


@pytest.fixture
def operator(registry: Deployment) -> Client:
    """An operator who may do everything."""
    return logged_in(User.objects.create_superuser("console-root"))


@pytest.fixture
def viewer(registry: Deployment) -> Client:
    """An operator who may look at regions and tenants and do nothing."""
    user = User.objects.create_user("console-viewer", is_staff=True)
    wanted = ("view_region", "view_tenant", "view_operation")
    user.user_permissions.set(Permission.objects.filter(codename__in=wanted))
    return logged_in(user)


def logged_in(user: User) -> Client:
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(user)
    return client


@pytest.fixture(scope="session")
def broker(valkey: str) -> Iterator[redis.Redis]:
    """The Valkey of the region that Celery's settings name."""
    from django.conf import settings

    assert settings.CELERY_BROKER_URL.startswith(valkey)
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as client:
        yield client


@pytest.fixture
def queue(broker: redis.Redis) -> redis.Redis:
    """The broker with nothing in it."""
    broker.flushall()
    return broker
