"""An onboarding, and the making of a cell, outlast a change of the control cell's writer."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from desk.models import Ticket
from regions import cells
from regions.deployment import CONTROL_CELL, Deployment
from regions.errors import NoWriter
from regions.topology import database_name
from tenants import lifecycle
from tenants.context import tenant_scope
from tenants.errors import ProvisioningFailed
from tenants.lifecycle import across_writers
from tenants.models import Cell, Tenant
from tenants.seams import record_for
from tests.tenants.conftest import HOME, silent

STEPS = {"schema": ("registering", "opening its doors"), "dedicated": ("opening its doors",)}


class Gate:
    """No region may write the control cell from `step` on, until somebody says that it waits."""

    def __init__(self, deployment: Deployment, step: str, *, opens: bool) -> None:
        self.deployment, self.step, self.opens = deployment, step, opens
        self.shut = 0
        self.said: list[str] = []

    def __call__(self, step: str, percent: int) -> None:
        self.said.append(step)
        if step == self.step and not self.shut:
            self.shut += 1
            self.set("-infinity")
        elif step.startswith("waiting for the control cell's writer") and self.opens:
            self.set("infinity")

    def set(self, until: str) -> None:
        with cells.administrator(self.deployment, HOME, CONTROL_CELL) as admin:
            admin.execute("UPDATE fabric.gate SET valid_until = %s", [until])


@pytest.fixture(autouse=True)
def no_spares(tenants, settings, control: Deployment) -> Iterator[None]:
    settings.MERIDIAN_SPARES = {}
    lifecycle.drain_pools(actor="test", progress=silent)
    yield
    Gate(control, "", opens=True).set("infinity")


def onboard(mode: str, gate: Gate) -> Tenant:
    return lifecycle.provision(
        f"w-{uuid4().hex[:8]}",
        mode=mode,
        residency="EU",
        policy="active_active",
        actor="test",
        progress=gate,
    )


@pytest.mark.parametrize(
    ("mode", "step"), [(mode, step) for mode, steps in STEPS.items() for step in steps]
)
def test_it_goes_on_where_the_new_writer_is(control: Deployment, mode: str, step: str):
    gate = Gate(control, step, opens=True)
    tenant = onboard(mode, gate)
    assert (gate.shut, tenant.state) == (1, Tenant.State.ACTIVE)
    assert Tenant.objects.filter(slug=tenant.slug).count() == 1
    with tenant_scope(record_for(tenant)):
        assert Ticket.objects.count() == 0
    lifecycle.erase(tenant.slug, actor="test", progress=silent)
    assert not Cell.objects.filter(state="provisioning").exists()


def test_it_says_so_when_no_writer_comes(control: Deployment, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(across_writers, "PATIENCE_SECONDS", 0.5)
    gate = Gate(control, "opening its doors", opens=False)
    with pytest.raises(Exception, match="may not be written in region"):
        onboard("schema", gate)
    assert gate.shut == 1
    gate.set("infinity")
    (left,) = Tenant.objects.filter(slug__startswith="w-", state="provisioning")
    lifecycle.erase(left.slug, actor="test", progress=silent)


def make_cell(name: str, gate: Gate) -> Cell:
    place = {"regions": [HOME], "policy": "active_active"}
    return lifecycle.create_cell(name, mode="shared", actor="test", progress=gate, **place)


def database_of(control: Deployment, name: str) -> int | None:
    with cells.administrator(control, HOME) as admin:
        found = admin.execute(
            "SELECT oid FROM pg_database WHERE datname = %s", [database_name(name)]
        )
        return next(iter(found.fetchone() or ()), None)


def test_a_cell_is_gone_on_with_when_the_control_cell_has_a_writer_again(
    control: Deployment, new_cell: str
):
    gate = Gate(control, f"replication of cell {new_cell}", opens=True)
    cell = make_cell(new_cell, gate)
    assert (gate.shut, cell.state) == (1, Cell.State.READY)
    assert any(step.startswith("waiting for the control cell's writer") for step in gate.said)


def test_what_is_there_of_a_cell_stays_for_who_repeats_the_command(
    control: Deployment, new_cell: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(across_writers, "PATIENCE_SECONDS", 0.5)
    gate = Gate(control, f"replication of cell {new_cell}", opens=False)
    with pytest.raises(NoWriter, match="goes on where it stopped"):
        make_cell(new_cell, gate)
    made = database_of(control, new_cell)
    assert made is not None
    gate.set("infinity")
    assert make_cell(new_cell, Gate(control, "", opens=True)).state == Cell.State.READY
    assert database_of(control, new_cell) == made


def test_other_failures_are_not_tried_again(control: Deployment):
    attempts = []

    def attempt() -> None:
        attempts.append(1)
        raise ProvisioningFailed("the disk is full")

    with pytest.raises(ProvisioningFailed):
        across_writers.across_writers(attempt, silent)
    assert len(attempts) == 1
