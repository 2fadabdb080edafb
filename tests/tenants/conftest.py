"""A control cell and one cell a mode on real PostgreSQL, without agents.

Nobody grants leases here, so the control cell's gate is opened by hand, and the cells are
active-active: every region writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from regions.deployment import APP_ROLE, Deployment
from regions.models import Cell
from regions.topology import database_name
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.lifecycle import create_cell
from tenants.models import Tenant
from tenants.placement import is_own_cell
from tenants.seams import record_for
from testkit import control as control_cell
from testkit.control import end_cell, prepare_control, silent
from tests.tenants.appliers import applying
from tests.tenants.shop import rows
from tests.tenants.shop.models import Supplier

MODES = ("shared", "schema", "dedicated")
HOME = "eu-west"
EU = ["eu-west", "eu-central"]
Tenants = dict[str, tuple[TenantRecord, TenantRecord]]
LASTING = {mode: (f"acme-{mode}", f"globex-{mode}") for mode in MODES}
PREPARED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def control(deployment: Deployment, request: pytest.FixtureRequest) -> Deployment:
    """A control cell that takes writes, with its regions."""
    prepare_control(deployment)
    request.session.stash[PREPARED] = True
    return deployment


@pytest.fixture
def new_cell(control: Deployment) -> Iterator[str]:
    """The name of a cell that the test makes, and that ends with it."""
    name = f"w-{uuid4().hex[:8]}"
    yield name
    end_cell(name)


@pytest.fixture(autouse=True)
def own_cells(request: pytest.FixtureRequest) -> Iterator[None]:
    """Cells made for one tenant end with the test that made them: each costs its servers processes
    that read whatever the others write."""
    prepared = request.session.stash.get(PREPARED, False)
    before = _own_cells() if prepared else set()
    yield
    if prepared:
        end_cells(_own_cells() - before)


@pytest.fixture(scope="module", autouse=True)
def own_cells_of_the_module(request: pytest.FixtureRequest) -> Iterator[None]:
    """So do those that its tests share, but for those of `tenants`."""
    yield
    if request.session.stash.get(PREPARED, False):
        end_own_cells()


def end_own_cells() -> None:
    lasting = Tenant.objects.filter(slug__in=[slug for slugs in LASTING.values() for slug in slugs])
    end_cells(_own_cells() - set(lasting.values_list("cell", flat=True)))


def end_cells(names: set[str]) -> None:
    for name in sorted(names):
        end_cell(name)


def _own_cells() -> set[str]:
    cells = Cell.objects.exclude(state=Cell.State.SPARE)
    return set(filter(is_own_cell, cells.values_list("name", flat=True)))


def onboard(slug: str, mode: str, residency: str = "EU", **options: Any) -> Tenant:
    return control_cell.onboard(slug, mode, residency=residency, **options)


@pytest.fixture(scope="session")
def tenants(control: Deployment) -> Tenants:
    """Two tenants a mode: in one cell where the mode allows it."""
    made = {mode: [record_for(onboard(slug, mode)) for slug in LASTING[mode]] for mode in MODES}
    return {mode: (one, other) for mode, (one, other) in made.items()}


@pytest.fixture(params=MODES)
def pair(request: pytest.FixtureRequest, tenants: Tenants) -> tuple[TenantRecord, TenantRecord]:
    """Two tenants, in each mode in turn."""
    return tenants[request.param]


@pytest.fixture
def pair_with_rows(
    pair: tuple[TenantRecord, TenantRecord],
) -> tuple[TenantRecord, TenantRecord]:
    """The first has nothing in its shop; the second has rows that look like the first one's."""
    for tenant in pair:
        with tenant_scope(tenant):
            rows.clear()
    with tenant_scope(pair[1]):
        Supplier.objects.create(code="acme", name="Theirs")
        rows.make(5)
    return pair


@pytest.fixture
def shared_pair(tenants: Tenants) -> tuple[TenantRecord, TenantRecord]:
    return tenants["shared"]


@pytest.fixture
def raw(deployment: Deployment) -> Iterator[Callable[[TenantRecord], psycopg.Connection[Any]]]:
    """Sessions of the application role with nothing of the platform in between."""
    opened = []

    def connect(tenant: TenantRecord) -> psycopg.Connection[Any]:
        database = database_name(tenant.cell)
        session = psycopg.connect(deployment.dsn(HOME, database, APP_ROLE), autocommit=True)
        opened.append(session)
        return session

    yield connect
    for session in opened:
        session.close()


@pytest.fixture(scope="session")
def appliers(control: Deployment) -> Iterator[None]:
    # Cells made for one tenant are called `d-…`, a move's new one too.
    with applying(control, HOME, "mv", "d-"):
        yield


@pytest.fixture(scope="session")
def places(control: Deployment, tenants: Tenants, appliers: None) -> dict[str, str]:
    """Cells by mode, a second shared one, and one in the United States. The lasting tenants are
    there before: they would be placed in one of these."""
    made = {}
    for key, mode, regions in (
        ("shared", "shared", EU),
        ("schema", "schema", EU),
        ("other", "shared", EU),
        ("us", "shared", ["us-east"]),
    ):
        made[key] = f"mv-{key}"
        create_cell(
            made[key],
            mode=mode,
            regions=regions,
            policy="active_active",
            actor="test",
            progress=silent,
        )
    return made
