"""Requests that reach a real cell: what is committed, what is refused, and how it is said."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connections
from django.test import Client
from psycopg import sql

from desk.models import Customer
from gateway import durability
from regions.deployment import ADMIN_ROLE, OWNER_ROLE, Deployment
from tenants import tokens
from tenants.seams import local_directory
from tests.gateway import live

CUSTOMERS = "/api/desk/customers"
SUBSCRIPTIONS = (
    "SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid"
    " WHERE d.datname = current_database()"
)
ADA = {"name": "Ada", "email": "ada@example.org"}


def client_of(slug: str) -> Client:
    tenant = local_directory().current().by_slug[slug]
    bearer = f"Bearer {tokens.issue(tenant)}"
    return Client(headers={"host": f"{slug}.localhost", "authorization": bearer})


def customers_in(deployment: Deployment, region: str, cell: str = live.LAB.database) -> int:
    return live.count(deployment, "desk_customer", region, cell)


def test_an_answered_write_is_committed(served: None, deployment: Deployment) -> None:
    response = client_of("acme").post(CUSTOMERS, ADA, content_type="application/json")
    assert response.status_code == 201
    assert response["X-Durability"] == "local"
    assert customers_in(deployment, live.HERE) == 1


def test_a_request_that_fails_halfway_has_changed_nothing(
    served: None, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_create = Customer.objects.create

    def create_then_fail(**fields: object) -> Customer:
        real_create(**fields)
        raise RuntimeError("halfway")

    monkeypatch.setattr(Customer.objects, "create", create_then_fail)
    client = client_of("acme")
    client.raise_request_exception = False
    response = client.post(CUSTOMERS, ADA, content_type="application/json")
    assert response.status_code == 500
    assert customers_in(deployment, live.HERE) == 0


def test_a_region_without_a_lease_cannot_commit(served: None, deployment: Deployment) -> None:
    response = client_of("beta").post(CUSTOMERS, ADA, content_type="application/json")
    assert response.status_code == 503
    assert response.json()["type"] == "urn:meridian:problem:fenced"
    assert response["Retry-After"] == "1"
    assert customers_in(deployment, live.HERE, live.FENCED.database) == 0


def test_a_fenced_cell_still_answers_reads(served: None) -> None:
    assert client_of("beta").get(CUSTOMERS).json() == {"items": [], "count": 0}


def test_a_remote_write_is_confirmed_by_the_peer(
    served: None, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durability, "WAIT_SECONDS", 300)
    response = client_of("acme").post(
        CUSTOMERS, ADA, content_type="application/json", headers={"x-durability": "remote"}
    )
    assert response.status_code == 201
    assert response["X-Durability"] == "remote"
    dsn = deployment.dsn(live.PEER, live.LAB.database, OWNER_ROLE)
    with psycopg.connect(dsn) as peer:
        changes = peer.execute("SELECT count(*) FROM fabric.change").fetchone()
    assert changes is not None
    assert changes[0] > 0


def test_a_model_that_has_to_be_with_a_peer_is_though_no_request_says_so(
    served: None, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durability, "WAIT_SECONDS", 300)
    settings.MERIDIAN_DURABILITY = {"desk.Customer": "remote"}
    response = client_of("acme").post(CUSTOMERS, ADA, content_type="application/json")
    assert (response.status_code, response["X-Durability"]) == (201, "remote")


@contextmanager
def deaf_peer(deployment: Deployment) -> Iterator[None]:
    """The peer region receives nothing inside the block."""
    dsn = deployment.dsn(live.PEER, live.LAB.database, ADMIN_ROLE)
    with psycopg.connect(dsn, autocommit=True) as peer:
        names = [name for (name,) in peer.execute(SUBSCRIPTIONS).fetchall()]
        for name in names:
            peer.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(sql.Identifier(name)))
        try:
            yield
        finally:
            for name in names:
                peer.execute(sql.SQL("ALTER SUBSCRIPTION {} ENABLE").format(sql.Identifier(name)))


def test_a_wait_that_ends_early_says_maybe_and_keeps_the_write(
    served: None, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durability, "WAIT_SECONDS", 0.3)
    with deaf_peer(deployment):
        response = client_of("acme").post(
            CUSTOMERS, ADA, content_type="application/json", headers={"x-durability": "remote"}
        )
    assert response.status_code == 201
    assert response["X-Durability"] == "maybe"
    assert customers_in(deployment, live.HERE) == 1


def test_what_a_peer_gets_after_the_lease_has_ended_is_not_confirmed(
    served: None, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the server was frozen between a commit's check and its record."""
    gate = "UPDATE fabric.gate SET valid_until = %s"
    monkeypatch.setattr(durability, "WAIT_SECONDS", 300)
    real_answer = durability.confirmed

    def lease_ends_first() -> bool:
        with psycopg.connect(deployment.dsn(live.HERE, live.LAB.database, ADMIN_ROLE)) as admin:
            admin.execute(gate, ("-infinity",))
        return real_answer()

    monkeypatch.setattr(durability, "confirmed", lease_ends_first)
    try:
        response = client_of("acme").post(
            CUSTOMERS, ADA, content_type="application/json", headers={"x-durability": "remote"}
        )
    finally:
        with psycopg.connect(deployment.dsn(live.HERE, live.LAB.database, ADMIN_ROLE)) as admin:
            admin.execute(gate, ("infinity",))
    assert response.status_code == 201
    assert response["X-Durability"] == "maybe"


def test_a_connection_that_the_server_ended_costs_one_honest_refusal(
    served: None, deployment: Deployment
) -> None:
    client = client_of("acme")
    assert client.get(CUSTOMERS).status_code == 200
    with psycopg.connect(
        deployment.dsn(live.HERE, "postgres", ADMIN_ROLE), autocommit=True
    ) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = %s AND usename = 'meridian_app'",
            [live.LAB.database],
        )
    response = client.post(CUSTOMERS, ADA, content_type="application/json")
    assert response.status_code == 503
    assert response.json()["type"] == "urn:meridian:problem:database-unavailable"
    connections.close_all()
    assert client.post(CUSTOMERS, ADA, content_type="application/json").status_code == 201
