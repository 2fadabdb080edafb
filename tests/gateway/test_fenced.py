"""What the gateway says when the database refused the commit, from the map alone."""

import json
from collections.abc import Callable, Iterator

import psycopg
import pytest
from django.db import DatabaseError
from django.test import RequestFactory

from gateway.transactions import explain
from tenants.context import tenant_scope
from tenants.maps import region_map
from tests.gateway.maps import cell, tenant


class LeaseLost(psycopg.DatabaseError):
    sqlstate = "MDF01"


@pytest.fixture
def fenced() -> DatabaseError:
    error = DatabaseError("this region may not write")
    error.__cause__ = LeaseLost()
    return error


@pytest.fixture
def lease_at(publish: Callable[..., None]) -> Iterator[Callable[[str | None], None]]:
    """Publishes who writes acme's cell, with acme in scope."""

    def writer(region: str | None) -> None:
        publish(
            cells=[cell("eu", "eu-west", "eu-central")],
            tenants=[tenant("acme", "eu")],
            writers={"eu": region} if region else {},
        )

    writer("eu-west")
    with tenant_scope(region_map().directory().by_slug["acme"]):
        yield writer


def write(**headers: str):
    return RequestFactory().post("/api/desk/tickets", headers={"host": "acme.localhost", **headers})


def test_a_fenced_write_follows_the_lease_with_its_body(
    lease_at: Callable[[str | None], None], fenced: DatabaseError
) -> None:
    lease_at("eu-central")
    response = explain(write(**{"x-meridian-edge": "1"}), fenced)
    assert response is not None
    assert response.status_code == 307
    assert response["x-replay-region"] == "region_eu_central"


@pytest.mark.parametrize("writer", ["eu-west", None])
def test_while_nobody_else_is_known_to_write_the_client_comes_back(
    lease_at: Callable[[str | None], None], fenced: DatabaseError, writer: str | None
) -> None:
    lease_at(writer)
    response = explain(write(**{"x-meridian-edge": "1"}), fenced)
    assert response is not None
    assert response.status_code == 503
    assert response["Retry-After"] == "1"
    assert json.loads(response.content)["type"] == "urn:meridian:problem:fenced"
