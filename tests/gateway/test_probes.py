"""Probes are the operators': whoever has no token of theirs is told so."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from django.test import RequestFactory

from gateway import probes
from gateway.probes import probe
from regions.current import deployment as current
from regions.deployment import ADMIN_ROLE, Deployment
from tests.gateway.live import HERE, LAB
from tests.gateway.maps import cell


@pytest.mark.parametrize("sent", ["", "Bearer wrong", "Bearer \xfcml\xe4ut"])
def test_a_probe_without_the_operators_token_is_refused(publish: Callable[..., None], sent: str):
    publish(cells=[cell("eu", "eu-west", "eu-central")], tenants=[], writers={"eu": "eu-west"})
    request = RequestFactory().post("/", headers={"authorization": sent})
    assert probe(request, current().probe_host("eu")).status_code == 401


@pytest.mark.postgres
def test_a_cells_probes_share_a_connection_unless_they_come_at_once(
    served: None, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
):
    """Many cells are probed when a region is emptied: each thread of a web has one to none."""
    monkeypatch.setattr(probes, "CONNECT_SECONDS", 300)
    headers = {"authorization": f"Bearer {deployment.probe_token()}"}

    def send(_: int) -> int:
        request = RequestFactory().post(
            "/",
            {"id": str(uuid4())},
            content_type="application/json",
            headers=headers,
        )
        return probe(request, deployment.probe_host(LAB.name)).status_code

    for number in range(4):  # each in a thread of its own
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(send, number).result() == 200
    dsn = deployment.dsn(HERE, LAB.database, ADMIN_ROLE)
    with psycopg.connect(dsn) as session:
        found = session.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = 'probe' AND datname = current_database()"
        ).fetchone()
    assert found == (1,)
