"""N statements of a view are N round trips on the wire: as with plain Django, in each mode."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from infra.fleet.state import REPOSITORY
from regions import cells
from regions.deployment import ADMIN_ROLE, Deployment
from regions.topology import database_name
from tenants.directory import TenantRecord
from testkit.control import forget_maps, publish_maps
from tests.settings import TEST_PLAN
from tests.tenants.conftest import HOME, MODES
from tests.tenants.web.proxy import Wire, counting
from tests.tenants.web.servers import web

Tenants = dict[str, tuple[TenantRecord, TenantRecord]]
PLAIN = "plain_wire"


@dataclass(frozen=True)
class Sites:
    """Both servers with one thread each, and the wire between them and PostgreSQL."""

    interface: str
    ours: int
    plain: int
    wire: Wire

    def trips(self, method: str, path: str, tenant: TenantRecord | None) -> dict[str, int]:
        """The round trips of one request, by database (None: plain Django's)."""
        port, host = (
            (self.plain, "plain.localhost") if tenant is None else (self.ours, tenant.hosts[0])
        )
        # What a first request opens and caches is not counted.
        for _ in range(2):
            with self.wire.trips() as trips:
                answer = httpx.request(
                    method,
                    f"http://127.0.0.1:{port}/{path}",
                    headers={"Host": host},
                    trust_env=False,
                    timeout=240,
                )
            assert answer.status_code == 200, answer.text
        return dict(trips)


@pytest.fixture(scope="module")
def plain_database(control: Deployment) -> Iterator[dict[str, str]]:
    with cells.administrator(control, HOME) as admin:
        admin.execute(f"CREATE DATABASE {PLAIN}")
    yield {"NAME": PLAIN, "USER": ADMIN_ROLE, "PASSWORD": control.password(ADMIN_ROLE)}
    with cells.administrator(control, HOME) as admin:
        admin.execute(f"DROP DATABASE {PLAIN} WITH (FORCE)")


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def sites(
    request: pytest.FixtureRequest,
    control: Deployment,
    tenants: Tenants,
    plain_database: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Sites]:
    folder = tmp_path_factory.mktemp("wire")
    publish_maps(control)
    with (
        counting(control.region(HOME).postgres) as (port, wire),
        pytest.MonkeyPatch.context() as patch,
    ):
        document = json.loads((TEST_PLAN.state / "deployment.json").read_text())
        for entry in document["regions"]:
            entry["map_dir"] = str(TEST_PLAN.state / entry["map_dir"])
            if entry["name"] == HOME:
                entry["postgres"] = {"host": "127.0.0.1", "port": port}
        (folder / "deployment.json").write_text(json.dumps(document))
        (folder / "secrets.json").symlink_to(TEST_PLAN.state / "secrets.json")
        patch.setenv("MERIDIAN_DIR", str(folder))
        at = {"HOST": "127.0.0.1", "PORT": str(port)}
        patch.setenv("PLAIN_DATABASE", json.dumps(plain_database | at))
        _migrate()
        log = folder / "web.log"
        with (
            web(HOME, log, request.param, threads=1) as ours,
            web(
                HOME,
                log,
                request.param,
                threads=1,
                settings="tests.tenants.web.plain",
                application=f"tests.tenants.web.plain_server:{request.param}",
            ) as plain,
        ):
            yield Sites(request.param, ours, plain, wire)
    forget_maps(control)


def _migrate() -> None:
    """Plain Django's tables, if they aren't there."""
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--settings", "tests.tenants.web.plain"],
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'platform'}"},
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("statements", [1, 4])
def test_a_reading_view_makes_one_round_trip_a_statement(
    sites: Sites, tenants: Tenants, mode: str, statements: int
):
    tenant = tenants[mode][0]
    path = f"reading?statements={statements}"
    assert sites.trips("GET", path, tenant) == {database_name(tenant.cell): statements}
    assert sites.trips("GET", path, None) == {PLAIN: statements}


@pytest.mark.parametrize("mode", MODES)
def test_asynchronous_statements_cost_no_more(sites: Sites, tenants: Tenants, mode: str):
    tenant = tenants[mode][0]
    trips = sites.trips("GET", "reading-async?statements=3", tenant)
    assert trips == {database_name(tenant.cell): 3}


@pytest.mark.parametrize("mode", MODES)
def test_a_writing_view_costs_what_a_transaction_costs_plain_django(
    sites: Sites, tenants: Tenants, mode: str
):
    """BEGIN, the view's statements, COMMIT."""
    tenant = tenants[mode][0]
    ours = sites.trips("POST", "counted-writing?rows=2", tenant)
    plain = sites.trips("POST", "counted-writing?rows=2", None)
    assert ours == {database_name(tenant.cell): 8}
    assert plain == {PLAIN: 8}


@pytest.mark.parametrize("mode", MODES)
def test_a_view_without_statements_asks_no_database(sites: Sites, tenants: Tenants, mode: str):
    """Whose request it is and who writes there is known: no query, in no database."""
    assert sites.trips("GET", "pure", tenants[mode][0]) == {}


def test_requests_of_tenants_in_turn_cost_no_more(sites: Sites, tenants: Tenants):
    """Another tenant's context, and another schema, come with the statement."""
    first, second = tenants["schema"]
    for tenant in (first, second, first):
        assert sites.trips("GET", "reading?statements=1", tenant) == {database_name(tenant.cell): 1}
