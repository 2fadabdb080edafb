"""The doctor is shown real servers, healthy and then spoilt; what was spoilt is mended after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from regions import cells
from regions.deployment import Deployment
from regions.topology import database_name
from tenants.directory import TenantRecord
from tenants.doctor.examine import examine
from tenants.doctor.findings import Finding, Report
from tests.tenants.conftest import HOME

Spoil = Callable[..., Any]


@pytest.fixture
def doctor(control: Deployment) -> Callable[[TenantRecord], Report]:
    """Examines the tenant's cell."""

    def examine_cell(tenant: TenantRecord) -> Report:
        return examine(cell=tenant.cell, progress=lambda step: None)

    return examine_cell


@pytest.fixture
def spoil(control: Deployment) -> Iterator[Spoil]:
    """`spoil(tenant, harm, cure)`: SQL as the administrator of one replica's database."""

    @contextmanager
    def done(tenant: TenantRecord, harm: str, cure: str) -> Iterator[None]:
        database = database_name(tenant.cell)
        with cells.administrator(control, HOME, database) as admin:
            admin.execute(harm)
        yield
        with cells.administrator(control, HOME, database) as admin:
            admin.execute(cure)

    with ExitStack() as stack:
        yield lambda tenant, harm, cure: stack.enter_context(done(tenant, harm, cure))


def mended(report: Report) -> list[Finding]:
    """What there is to mend, except what belongs to the place and not to the cell: caches."""
    return [one for one in report.findings if one.severity != "note"]
