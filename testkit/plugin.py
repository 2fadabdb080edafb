"""The pytest plugin: a test that takes `tenant` runs once in each tenancy mode, on real PostgreSQL.

Guarantees that a test finds its tenants empty, whatever other tests did, and that servers and cells
are made once a session, and only if a test wants them. Name it in the `conftest.py` at your root,
`pytest_plugins = ["testkit.plugin"]`, and let your settings begin with
`from testkit.settings import *`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from regions.deployment import Deployment
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from testkit.grounds import grounds

MARK = "tenant_modes"
OPTION = "--tenant-modes"
MODES = ("shared", "schema", "dedicated")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("meridian")
    group.addoption(
        OPTION,
        metavar="MODE,…",
        default=",".join(MODES),
        help=f"run tests of tenants in these modes only (all: {','.join(MODES)})",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"{MARK}(*modes): the test's tenant is of these modes only (default: all)"
    )
    _check(config.getoption(OPTION).split(","), OPTION)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "tenant_mode" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker(MARK)
        marked = mark.args if mark else MODES
        _check(marked, f"{metafunc.definition.nodeid}: @pytest.mark.{MARK}")
        wanted = metafunc.config.getoption(OPTION).split(",")
        metafunc.parametrize("tenant_mode", [mode for mode in marked if mode in wanted])


def _check(modes: Sequence[str], said_by: str) -> None:
    if unknown := sorted(set(modes) - set(MODES)):
        raise pytest.UsageError(
            f"{said_by} names {', '.join(map(repr, unknown))}. Modes: {', '.join(MODES)}."
        )


@pytest.fixture(scope="session")
def deployment(django_db_blocker: Any) -> Iterator[Deployment]:
    """The run's regions, each a real PostgreSQL cluster with nothing in it, and nothing else."""
    with grounds().clusters() as where, django_db_blocker.unblock():
        yield where


@pytest.fixture(scope="session")
def valkey_servers() -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Each region's Valkey, empty at first. The tests of a run share them."""
    with grounds().valkeys() as servers:
        yield servers


@pytest.fixture(scope="session")
def valkeys(valkey_servers: dict[str, subprocess.Popen[bytes]]) -> Deployment:
    """Where they are."""
    return grounds().deployment()


@pytest.fixture(scope="session")
def session_tenants(deployment: Deployment) -> Iterator[Any]:
    """The tenants that the session's tests share."""
    from django.db import connections

    from testkit.tenants import Tenants

    yield Tenants(deployment)
    connections.close_all()


@pytest.fixture(scope="session")
def django_db_setup(session_tenants: Any) -> None:
    """pytest-django's marks and fixtures work on the cells: no databases of its own are made."""


@pytest.fixture
def tenants(
    request: pytest.FixtureRequest,
    tenant_mode: str,
    session_tenants: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[], TenantRecord]]:
    """`tenants()` is another tenant of the test's mode each time, with nothing in it."""
    from testkit.control import forget_maps, publish_maps
    from testkit.tenants import Visit

    settings.MERIDIAN_REGION = session_tenants.home
    # A map that has just been published is seen.
    monkeypatch.setattr("regions.mapfile.LOOK_SECONDS", 0.0)
    visit = Visit(
        session_tenants, tenant_mode, commits="transactional_tenant" in request.fixturenames
    )

    def give() -> TenantRecord:
        tenant = visit.next()
        publish_maps(session_tenants.deployment)
        return tenant

    try:
        yield give
    finally:
        visit.end()
        forget_maps(session_tenants.deployment)


@pytest.fixture
def tenant(tenants: Callable[[], TenantRecord]) -> Iterator[TenantRecord]:
    """A tenant, in whose scope the test runs. What the test writes is rolled back."""
    found = tenants()
    with tenant_scope(found):
        yield found


@pytest.fixture
def transactional_tenant(tenant: TenantRecord) -> TenantRecord:
    """The same for a test that commits, or whose threads and processes have to see its rows: the
    cell's database is taken from its template afterwards."""
    return tenant


@pytest.fixture
def client_of(tenants: Callable[[], TenantRecord]) -> Callable[..., Any]:
    """`client_of(tenant, **options)`: Django's test client for that tenant's host."""
    from testkit.client import TenantClient

    return TenantClient


@pytest.fixture
def tenant_client(tenant: TenantRecord, client_of: Callable[..., Any]) -> Any:
    """The client for the tenant's own host."""
    return client_of(tenant)
