"""Cells of a project with apps that bring rows: sites, and one of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from django.apps import apps
from django.conf import settings

from regions.deployment import Deployment
from tenants import router
from tenants.binding import rules
from tenants.directory import TenantRecord
from tenants.isolation import blueprint
from tenants.lifecycle import create_cell
from tenants.seams import record_for
from testkit.control import end_cell
from tests.tenants.appliers import applying
from tests.tenants.conftest import EU, HOME, MODES, end_own_cells, onboard, silent

ORCHARD = ["django.contrib.sites", "tests.tenants.seed.orchard"]


@pytest.fixture(scope="package")
def orchard() -> Iterator[None]:
    """The apps are tenant apps while the tests of this package run."""
    before = (list(settings.TENANT_APPS), list(settings.INSTALLED_APPS))
    settings.TENANT_APPS = [*before[0], *ORCHARD]
    apps.set_installed_apps([*before[1], *ORCHARD])
    _forget()
    yield
    settings.TENANT_APPS = before[0]
    apps.unset_installed_apps()
    _forget()


def _forget() -> None:
    for cached in (router.tenant_labels, rules.is_guarded, blueprint.fingerprint):
        cached.cache_clear()


@pytest.fixture(scope="package")
def cells(control: Deployment, orchard: None) -> Iterator[dict[str, str]]:
    """A cell a mode, in two regions, by mode; `dedicated` is not there."""
    names = {mode: f"sd-{mode}" for mode in MODES if mode != "dedicated"}
    with applying(control, HOME, "sd-", "d-"):
        for mode, name in names.items():
            create_cell(
                name,
                mode=mode,
                regions=EU,
                policy="active_active",
                actor="test",
                progress=silent,
            )
        yield names
    for name in names.values():
        end_cell(name)
    end_own_cells()


@pytest.fixture(autouse=True)
def own_cells() -> None:
    """They end with the package."""


@pytest.fixture(scope="module", autouse=True)
def own_cells_of_the_module() -> None:
    """With the package, too."""


@pytest.fixture
def another(cells: dict[str, str]) -> Callable[[str], TenantRecord]:
    """`another(mode)` is a new tenant."""

    def make(mode: str) -> TenantRecord:
        where = {"cell": cells[mode]} if mode in cells else {"regions": EU}
        return record_for(onboard(f"s{uuid4().hex[:8]}", mode, **where))

    return make


@pytest.fixture(params=MODES, scope="package")
def neighbours(request: pytest.FixtureRequest, cells: dict[str, str]) -> list[TenantRecord]:
    """Two new tenants, in each mode in turn: the first is left as it is."""
    where = {"cell": cells[request.param]} if request.param in cells else {"regions": EU}
    return [record_for(onboard(f"s{uuid4().hex[:8]}", request.param, **where)) for _ in range(2)]
