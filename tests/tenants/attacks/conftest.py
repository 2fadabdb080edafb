"""The attacker: arbitrary SQL inside his own request, as the platform sends it; then the victim."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection, connections

from desk.models import Customer
from regions import cells
from regions.deployment import Deployment
from regions.topology import database_name
from tenants.backend.context import context_statement, sign_context
from tenants.context import tenant_scope
from tenants.directory import TenantRecord

Pair = tuple[TenantRecord, TenantRecord]
Inject = Callable[..., list[Any]]
HOME = "eu-west"


@pytest.fixture(autouse=True)
def customers(request: pytest.FixtureRequest) -> None:
    """The first of the two has one customer, the second has two."""
    if "pair" not in request.fixturenames:
        return
    for number, tenant in enumerate(request.getfixturevalue("pair"), start=1):
        wanted = [("Ann", f"ann{serial}@{tenant.slug}.example") for serial in range(number)]
        with tenant_scope(tenant):
            # Most attacks change nothing.
            if list(Customer.objects.values_list("name", "email")) == wanted:
                continue
            Customer.objects.all().delete()
            for name, email in wanted:
                Customer.objects.create(name=name, email=email)


@pytest.fixture
def inject() -> Iterator[Inject]:
    """Runs SQL in the tenant's request, on the platform's own connection of this thread; returns
    the last rows. The connection is what the next tenant gets."""

    def run(tenant: TenantRecord, statement: str) -> list[Any]:
        with tenant_scope(tenant), connection.cursor() as cursor:
            cursor.execute(statement)
            rows: list[Any] = []
            while True:
                rows = cursor.fetchall() if cursor.description else rows
                if not cursor.nextset():
                    return rows

    connections.close_all()
    yield run
    connections.close_all()


@pytest.fixture
def alone(
    deployment: Deployment, raw: Callable[[TenantRecord], psycopg.Connection[Any]]
) -> Callable[[TenantRecord], psycopg.Connection[Any]]:
    """A session of the application's role under the tenant's genuine context for its whole life,
    with nothing of the platform in between: what only the database itself refuses."""

    def connect(tenant: TenantRecord) -> psycopg.Connection[Any]:
        session = raw(tenant)
        session.execute(f"SET meridian.context = '{genuine(deployment, tenant)}'")
        session.execute(f'SET search_path = "{tenant.schema}", standin, pg_catalog')
        return session

    return connect


@pytest.fixture
def administer(deployment: Deployment) -> Callable[[TenantRecord, str], list[Any]]:
    def run(tenant: TenantRecord, statement: str) -> list[Any]:
        with cells.administrator(deployment, HOME, database_name(tenant.cell)) as admin:
            cursor = admin.execute(statement)
            return cursor.fetchall() if cursor.description else []

    return run


def genuine(deployment: Deployment, tenant: TenantRecord, *, cell: str | None = None) -> str:
    key = deployment.context_key(cell or tenant.cell)
    return sign_context(key, tenant.id, int(time.time()) + 60)


def prefix(deployment: Deployment, tenant: TenantRecord) -> bytes:
    """What the platform sends in front of a statement."""
    key = deployment.context_key(tenant.cell)
    return context_statement(key, tenant.id, tenant.schema, int(time.time()) + 60)


def theirs(tenant: TenantRecord, table: str) -> str:
    """The table as an attacker names it, whatever search_path he has."""
    return f'"{tenant.schema}".{table}'
