import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from django.test import Client

from gateway import health
from gateway.health import PATIENCE_SECONDS, PostgresProbe
from tests.gateway.maps import cell, tenant


def test_a_process_is_alive_whatever_host_it_is_called_by(publish: Callable[..., None]) -> None:
    response = Client(headers={"host": "region_eu_west"}).get("/healthz/live")
    assert response.status_code == 200
    assert response.json() == {"status": "live", "region": "eu-west"}


def test_a_region_without_a_map_is_not_ready(publish: Callable[..., None]) -> None:
    response = Client().get("/healthz/ready")
    assert response.status_code == 503
    assert "map" in response.json()["reason"]


def test_a_region_without_postgresql_is_not_ready(publish: Callable[..., None], settings) -> None:
    publish(cells=[cell("control", "eu-west")])
    response = Client(headers={"host": "region_eu_west"}).get("/healthz/ready")
    assert response.status_code == 503
    assert "PostgreSQL" in response.json()["reason"]


def test_a_frozen_postgresql_costs_a_check_a_second_and_one_thread(monkeypatch) -> None:
    connect = health.psycopg.connect

    def patiently(dsn: str, **options: object) -> object:
        return connect(dsn, **{**options, "connect_timeout": 300})

    monkeypatch.setattr(health.psycopg, "connect", patiently)
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        port = frozen.getsockname()[1]
        probe = PostgresProbe(f"postgresql://nobody@127.0.0.1:{port}/nothing")
        started = time.monotonic()
        assert not probe.answers()
        assert time.monotonic() - started > PATIENCE_SECONDS * 0.9
        first = probe._running
        assert not probe.answers()
        assert probe._running is first


def test_a_tenants_health_follows_the_map(publish: Callable[..., None]) -> None:
    client = Client(headers={"host": "acme.localhost"})
    publish(cells=[cell("eu", "eu-west", "eu-central")])
    assert client.get("/healthz/tenant").status_code == 404
    publish(cells=[cell("eu", "eu-west")], tenants=[tenant("acme", "eu", state="provisioning")])
    assert client.get("/healthz/tenant").status_code == 503
    publish(cells=[cell("eu", "eu-central")], tenants=[tenant("acme", "eu")])
    assert client.get("/healthz/tenant").status_code == 421
    publish(
        cells=[cell("eu", "eu-west")], tenants=[tenant("acme", "eu")], writers={"eu": "eu-west"}
    )
    response = client.get("/healthz/tenant")
    assert response.status_code == 200
    assert response.json()["writer"] == "eu-west"


def test_who_waits_for_a_tenant_hears_when_it_is_served_and_keeps_one_thread(
    publish: Callable[..., None], monkeypatch
) -> None:
    client = Client(headers={"host": "acme.localhost"})
    publish(cells=[cell("eu", "eu-west")])
    assert client.get("/healthz/tenant?wait").status_code == 404
    monkeypatch.setattr(health, "WAIT_SECONDS", 60)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(client.get, "/healthz/tenant?wait")
        while not health._waiting.locked():
            time.sleep(0.001)
        # The others aren't kept waiting, whether they ask for it or not.
        for query in ("", "?wait"):
            assert (
                Client(headers={"host": "x.localhost"}).get(f"/healthz/tenant{query}").status_code
                == 404
            )
        assert not waits.done()
        publish(cells=[cell("eu", "eu-west")], tenants=[tenant("acme", "eu")])
        assert waits.result(timeout=50).status_code == 200
    assert not health._waiting.locked()
