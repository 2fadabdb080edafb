"""Fixtures that the whole suite shares, and its order: pure, then PostgreSQL, then fleet.

With `-n 4`, and with `-n 2` for those of the fleet, each process runs one part, in the same order
as without: tests share tenants and servers, and an order that changed from run to run would bring
failures that nobody can repeat.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from regions.deployment import ADMIN_ROLE, Deployment

pytest_plugins = ["pytester", "testkit.plugin"]

ORDER = {"postgres": 1, "fleet": 2}
# Whatever else there is belongs to the last.
PARTS = {
    "faults": re.compile(
        r"tests/fleet/test_(under_fire|two_operators|killed|limits|policy|tasks)\.py"
    ),
    "fleet": re.compile(r"tests/fleet/.+"),
    "moving": re.compile(
        r"tests/tenants/test_(move|conflicts|verify|cell_regions)\w*\.py"
        r"|tests/(compat|faults|regions/failover)/.+"
    ),
    "tenants": re.compile(r"tests/tenants/\w+\.py"),
    "packages": re.compile(r"tests/tenants/\w+/.+"),
    "rest": re.compile(r".+"),
}

# How long an example takes is the machine's affair. Each run has the same examples, so that
# everybody can repeat what fails; with `--hypothesis-profile=search` each has others.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("suite", settings.get_profile("search"), derandomize=True)
settings.load_profile("suite")


class Parts(LoadScopeScheduling):
    """Each worker has one part, from beginning to end."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return next(name for name, paths in PARTS.items() if paths.fullmatch(path))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Parts:
    return Parts(config, log)


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
