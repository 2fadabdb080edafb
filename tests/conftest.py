"""Fixtures that the whole suite shares, and its order: pure, then PostgreSQL, then fleet."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.postgres.cluster import Cluster, prepare, wait_until_ready
from regions.deployment import ADMIN_ROLE, Deployment, load
from tests.servers import start_cluster, start_valkey

ORDER = {"postgres": 1, "fleet": 2}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the fixtures they use, and run the fast ones first."""
    for item in items:
        fixtures: list[str] = getattr(item, "fixturenames", [])
        for name, mark in (("deployment", "postgres"), ("fleet", "fleet")):
            if name in fixtures:
                item.add_marker(mark)
    items.sort(
        key=lambda item: max((ORDER.get(mark.name, 0) for mark in item.iter_markers()), default=0)
    )


@pytest.fixture(scope="session")
def deployment(django_db_blocker) -> Iterator[Deployment]:
    """Three regions, each a real PostgreSQL cluster with nothing in it, and nothing else."""
    from tests.settings import TEST_GUARD, TEST_PLACEMENT, TEST_PLAN

    where = load(TEST_PLAN.state / "deployment.json")
    clusters = [
        Cluster(
            TEST_PLAN.pgdata(region.name),
            region.postgres_port,
            TEST_PLACEMENT.binaries,
            TEST_PLACEMENT.account,
        )
        for region in TEST_PLAN.regions
    ]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda cluster: prepare(cluster, where.password(ADMIN_ROLE)), clusters))
    servers = [start_cluster(cluster, TEST_PLAN.logs) for cluster in clusters]
    try:
        for server in servers:
            TEST_GUARD.ends(server.pid)
        for region in TEST_PLAN.regions:
            wait_until_ready(where.dsn(region.name, "postgres", ADMIN_ROLE))
        with django_db_blocker.unblock():
            yield where
    finally:
        for server in servers:
            server.send_signal(signal.SIGQUIT)
        for server in servers:
            server.wait(timeout=30)


@pytest.fixture(scope="session")
def valkey_servers() -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Each region's Valkey, empty. The tests of a run share them."""
    from tests.settings import TEST_GUARD, TEST_PLAN

    where = load(TEST_PLAN.state / "deployment.json")
    servers = {}
    for name, site in where.regions.items():
        servers[name] = start_valkey(site.valkey_url(), TEST_PLAN.state)
        TEST_GUARD.ends(servers[name].pid)
    try:
        yield servers
    finally:
        for server in servers.values():
            server.terminate()
        for server in servers.values():
            server.wait(timeout=10)


@pytest.fixture(scope="session")
def valkeys(valkey_servers: dict[str, subprocess.Popen[bytes]]) -> Deployment:
    """Where they are."""
    from tests.settings import TEST_PLAN

    return load(TEST_PLAN.state / "deployment.json")


@pytest.fixture(scope="session")
def postgres_url(deployment: Deployment) -> Callable[..., str]:
    """`postgres_url(region, database="postgres", role="postgres")` is a libpq URI."""

    def url(region: str, database: str = "postgres", role: str = ADMIN_ROLE) -> str:
        return deployment.dsn(region, database, role)

    return url


@pytest.fixture(scope="session")
def valkey(valkeys: Deployment) -> str:
    """The first region's: `redis://host:port`."""
    return next(iter(valkeys.regions.values())).valkey_url().rsplit("/", 1)[0]


@pytest.fixture(autouse=True)
def maps_are_always_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test sees the map it has just published; how old a look may be has tests of its own."""
    monkeypatch.setattr("regions.mapfile.LOOK_SECONDS", 0.0)
