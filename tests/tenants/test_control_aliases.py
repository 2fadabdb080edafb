"""What was read where the control cell is written is followed there: the nearest copy may be
seconds behind, or gone with its region, which is when operators read elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from regions.deployment import APP_ROLE, CONTROL_DATABASE
from tenants import seams
from tenants.databases import CONTROL_ALIAS, register
from tenants.models import Cell, Domain, Tenant
from tenants.seams import find_cell, find_tenant, record_for, spec_for
from tests.tenants.conftest import HOME, Tenants

ELSEWHERE = f"{CONTROL_ALIAS}@{HOME}"


@pytest.fixture
def slug(tenants: Tenants) -> str:
    register(ELSEWHERE, CONTROL_DATABASE, HOME, APP_ROLE)
    acme, _ = tenants["shared"]
    return acme.slug


@pytest.fixture
def nothing_nearby(slug: str) -> Iterator[None]:
    """Nobody asks the nearest copy."""
    with CaptureQueriesContext(connections[CONTROL_ALIAS]) as asked:
        yield
    assert [query["sql"] for query in asked] == []


def test_a_cell_and_its_replicas(slug: str, nothing_nearby: None):
    tenant = find_tenant(slug, using=ELSEWHERE)
    cell = find_cell(tenant.cell_id, using=ELSEWHERE)
    assert spec_for(cell).regions
    assert {replica._state.db for replica in cell.replicas.all()} == {ELSEWHERE}


def test_a_tenant_its_cell_its_plan_and_its_hosts(slug: str, nothing_nearby: None):
    tenant = Tenant.objects.using(ELSEWHERE).get(slug=slug)
    assert record_for(tenant).hosts
    assert tenant.cell.region_names
    assert tenant.plan._state.db == ELSEWHERE


def test_what_is_written_by_way_of_it(slug: str, nothing_nearby: None):
    tenant = Tenant.objects.using(ELSEWHERE).get(slug=slug)
    domain = tenant.domains.create(host="elsewhere.example", primary=False)
    domain.primary = True
    domain.save()
    assert Domain.objects.using(ELSEWHERE).get(host=domain.host).primary
    domain.delete()
    assert not tenant.domains.filter(host="elsewhere.example").exists()


def test_what_a_process_of_no_region_asks(
    slug: str, nothing_nearby: None, settings, monkeypatch: pytest.MonkeyPatch
):
    settings.MERIDIAN_REGION = None
    monkeypatch.setattr(seams, "control_writer_alias", lambda: ELSEWHERE)
    monkeypatch.setattr(seams, "_specs", {})
    record = seams.local_directory().current().by_slug[slug]
    assert seams.cell_spec(record.cell) in seams.all_specs()


def test_what_was_read_nearby_stays_there(slug: str):
    cell = Cell.objects.filter(tenants__slug=slug).get()
    with CaptureQueriesContext(connections[ELSEWHERE]) as asked:
        assert cell.region_names
    assert len(asked) == 0
