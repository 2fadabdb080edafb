"""The gateway's answers from its map alone: no test here can reach a database."""

from collections.abc import Callable

import pytest
from django.test import Client

from tests.gateway.maps import cell, tenant

TICKETS = "/api/desk/tickets"
EDGE = {"x-meridian-edge": "1"}


@pytest.fixture
def acme() -> Client:
    return Client(headers={"host": "acme.localhost:9500"})


@pytest.fixture
def console() -> Client:
    return Client(headers={"host": "127.0.0.1:9500"})


def test_every_response_names_its_region(publish: Callable[..., None], acme: Client) -> None:
    publish(cells=[cell("eu", "eu-west")], tenants=[tenant("acme", "eu")])
    for path in ("/", "/no-such-page", "/healthz/live", "/static/ninja/swagger-ui.css"):
        response = acme.get(path)
        assert response["X-Region"] == "eu-west", path
        response.close()


def test_the_host_name_decides_whose_page_it_is(publish: Callable[..., None], acme: Client) -> None:
    publish(cells=[cell("eu", "eu-west")], tenants=[tenant("acme", "eu")])
    page = acme.get("/")
    assert page.status_code == 200
    assert "acme help desk" in page.content.decode()
    assert "eu-west" in page.content.decode()


@pytest.mark.parametrize("host", ["ACME.localhost", "acme.localhost:80", "acme.localhost."])
def test_ports_and_case_do_not_change_the_host(publish: Callable[..., None], host: str) -> None:
    publish(cells=[cell("eu", "eu-west")], tenants=[tenant("acme", "eu")])
    assert Client(headers={"host": host}).get("/").status_code == 200


def test_an_unknown_host_is_refused(publish: Callable[..., None]) -> None:
    publish(cells=[cell("eu", "eu-west")], tenants=[tenant("acme", "eu")])
    response = Client(headers={"host": "nobody.localhost"}).get("/")
    assert response.status_code == 404
    assert response.json()["type"] == "urn:meridian:problem:unknown-host"


def test_a_malformed_host_is_a_bad_request(publish: Callable[..., None]) -> None:
    publish(cells=[cell("eu", "eu-west")])
    client = Client(headers={"host": "a/b?c"}, raise_request_exception=False)
    assert client.get("/").status_code == 400


def test_a_tenants_host_does_not_serve_the_console_or_the_metrics(
    publish: Callable[..., None], acme: Client
) -> None:
    publish(cells=[cell("eu", "eu-west")], tenants=[tenant("acme", "eu")])
    assert acme.get("/console/").status_code == 404
    assert acme.get("/metrics").status_code == 404


@pytest.mark.parametrize(
    ("state", "status"), [("suspended", 403), ("erased", 410), ("provisioning", 503)]
)
def test_a_tenant_that_is_not_active_is_not_served(
    publish: Callable[..., None], acme: Client, state: str, status: int
) -> None:
    publish(cells=[cell("eu", "eu-west")], tenants=[tenant("acme", "eu", state=state)])
    assert acme.get("/").status_code == status


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_region_without_the_tenants_data_names_the_rule(
    publish: Callable[..., None], method: str
) -> None:
    publish(cells=[cell("us", "us-east")], tenants=[tenant("uncle", "us", residency="US")])
    client = Client(headers={"host": "uncle.localhost", **EDGE})
    response = getattr(client, method)(TICKETS)
    assert response.status_code == 421
    document = response.json()
    assert document["type"] == "urn:meridian:problem:not-served-here"
    assert document["rules"]
    assert document["regions"] == ["us-east"]
    assert "x-replay-region" not in response


def test_a_write_at_the_standby_is_handed_to_the_writer(
    publish: Callable[..., None], acme: Client
) -> None:
    publish(
        cells=[cell("eu", "eu-central", "eu-west")],
        tenants=[tenant("acme", "eu")],
        writers={"eu": "eu-central"},
    )
    through_edge = acme.post(TICKETS, "x" * 4_000_000, content_type="text/plain", headers=EDGE)
    assert through_edge.status_code == 307
    assert through_edge["x-replay-region"] == "region_eu_central"
    direct = acme.post(TICKETS, {}, content_type="application/json")
    assert direct.status_code == 421
    assert direct.json()["writer"] == "eu-central"


def test_a_write_without_a_writer_is_told_to_come_back(
    publish: Callable[..., None], acme: Client
) -> None:
    publish(cells=[cell("eu", "eu-west", "eu-central")], tenants=[tenant("acme", "eu")])
    response = acme.delete(f"{TICKETS}/1", headers=EDGE)
    assert response.status_code == 503
    assert response["Retry-After"] == "1"
    assert response.json()["type"] == "urn:meridian:problem:no-writer"


def test_reads_are_served_where_they_arrive(publish: Callable[..., None], acme: Client) -> None:
    publish(
        cells=[cell("eu", "eu-central", "eu-west")],
        tenants=[tenant("acme", "eu")],
        writers={"eu": "eu-central"},
    )
    assert acme.get("/").status_code == 200
    assert acme.get("/api/openapi.json").status_code == 200


def test_forged_edge_headers_open_nothing(publish: Callable[..., None], acme: Client) -> None:
    publish(
        cells=[cell("eu", "eu-central", "eu-west")],
        tenants=[tenant("acme", "eu")],
        writers={"eu": "eu-central"},
    )
    forged = {**EDGE, "x-replay-region": "region_eu_west", "x-replay-state": "1"}
    response = acme.post(TICKETS, {}, content_type="application/json", headers=forged)
    assert response.status_code == 503
    assert "x-replay-region" not in response


def test_a_write_to_the_console_goes_to_the_control_cells_writer(
    publish: Callable[..., None], console: Client
) -> None:
    publish(cells=[cell("control", "eu-central", "eu-west")], writers={"control": "eu-central"})
    response = console.post("/console/login/", {}, headers=EDGE)
    assert response["x-replay-region"] == "region_eu_central"


def test_a_write_before_the_map_arrives_is_told_to_come_back(
    publish: Callable[..., None], console: Client
) -> None:
    assert console.post("/console/login/").status_code == 503


def test_an_unknown_durability_is_refused_before_anything_is_done(
    publish: Callable[..., None], acme: Client
) -> None:
    publish(
        cells=[cell("eu", "eu-west")], tenants=[tenant("acme", "eu")], writers={"eu": "eu-west"}
    )
    assert acme.post(TICKETS, headers={"x-durability": "certain"}).status_code == 400
    alone = acme.post(TICKETS, headers={"x-durability": "remote"})
    assert alone.status_code == 400
    assert "one region" in alone.json()["detail"]


def test_metrics_count_by_region_and_never_name_a_tenant(
    publish: Callable[..., None], acme: Client, console: Client
) -> None:
    publish(
        cells=[cell("eu", "eu-central", "eu-west")],
        tenants=[tenant("acme", "eu")],
        writers={"eu": "eu-central"},
    )
    acme.post(TICKETS, headers=EDGE)
    text = console.get("/metrics").content.decode()
    assert 'meridian_handoffs_total{region="eu-west",to="eu-central"}' in text
    assert 'meridian_requests_total{method="POST",region="eu-west",status="307"}' in text
    assert "acme" not in text
