"""Moves that stop half-way, and processes with an old map: nothing lost, nothing written twice."""

from __future__ import annotations

import threading
from importlib import import_module
from typing import Any

import pytest
from django.db import Error, connections, transaction

from desk.models import Ticket
from regions.deployment import Deployment
from regions.models import Cell
from tenants import lifecycle
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.errors import MoveFailed, TenantNotActive
from tenants.lifecycle.move_side import Side, record_in
from tenants.models import Move
from tenants.seams import cell_spec, find_tenant
from tests.tenants.conftest import silent
from tests.tenants.moves import (
    content,
    fresh,
    leftovers,
    move,
    now,
    target_of,
)

# The package shows the verb under the module's name.
moving = import_module("tenants.lifecycle.move")


def test_a_stale_process_can_neither_write_nor_read_in_the_old_place(places: dict[str, str]):
    # With nobody's rows left in the table there would be nothing to read, and nothing to refuse.
    fresh(places, "shared")
    tenant = fresh(places, "shared")
    refused = []

    def late(step: str, percent: int) -> None:
        if step in ("bringing over what changed meanwhile", "comparing every replica"):
            refused.append(_refusal(tenant))

    lifecycle.move(tenant.slug, cell=places["other"], actor="test", progress=late)
    refused.append(_refusal(tenant))
    assert len(refused) == 3
    assert set(refused) == {"MDF01"}
    with tenant_scope(now(tenant)):
        assert not Ticket.objects.filter(title="late").exists()


def _refusal(stale: TenantRecord) -> str | None:
    for attempt in (lambda: Ticket.objects.create(title="late"), lambda: Ticket.objects.count()):
        with tenant_scope(stale), pytest.raises(Error) as caught:
            attempt()
        state: str | None = getattr(caught.value.__cause__, "sqlstate", None)
    return state


def test_a_transaction_that_began_before_is_waited_for_and_its_rows_come_along(
    places: dict[str, str], monkeypatch
):
    tenant = fresh(places, "shared")
    steps = []
    freeze = Side.freeze

    def freeze_during_a_write(side):
        began, release = threading.Event(), threading.Event()

        def write():
            with tenant_scope(tenant):
                alias = Ticket.objects.db
                try:
                    with transaction.atomic(using=alias):
                        Ticket.objects.create(title="in flight")
                        began.set()
                        release.wait(60)
                finally:
                    connections.close_all()  # this thread's

        writer = threading.Thread(target=write)
        writer.start()
        began.wait(60)
        threading.Timer(0.3, release.set).start()
        freeze(side)
        steps.append(release.is_set())
        writer.join()

    monkeypatch.setattr(Side, "freeze", freeze_during_a_write)
    move(tenant, cell=places["other"])
    assert steps == [True]
    with tenant_scope(now(tenant)):
        assert Ticket.objects.filter(title="in flight").count() == 1


@pytest.mark.parametrize("target", ["other", "schema", "dedicated"])
@pytest.mark.parametrize("broken", ["copy_rows", "copy_changes", "require_equal", "flip"])
def test_a_move_that_fails_leaves_the_tenant_usable_where_it_was(
    deployment: Deployment, places: dict[str, str], monkeypatch, broken: str, target: str
):
    tenant = fresh(places, "shared")
    before, cells_before = content(tenant), Cell.objects.count()
    original = getattr(moving, broken)

    def fails(*args: Any, **options: Any) -> Any:
        if broken == "require_equal":
            original(*args, **options)
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(moving, broken, fails)
        with pytest.raises(MoveFailed, match=r"the disk is full.*works in cell 'mv-shared'"):
            move(tenant, **target_of(places, target))
    assert now(tenant) == tenant
    assert content(tenant) == before
    assert Cell.objects.count() == cells_before
    with tenant_scope(tenant):
        Ticket.objects.create(title="still here")
        before = content(tenant)
    if target == "other":
        moved = record_in(find_tenant(tenant.slug), cell_spec(places["other"]))
        assert leftovers(deployment, moved) == {}
    move(tenant, **target_of(places, target))
    assert content(now(tenant)) == before


def test_a_move_that_was_killed_is_ended_by_resume_or_by_repeating_it(
    deployment: Deployment, places: dict[str, str], monkeypatch
):
    class Killed(BaseException):
        """Nothing catches it, as nothing catches SIGKILL."""

    def dies(*args: Any, **options: Any) -> None:
        raise Killed

    tenant = fresh(places, "shared")
    before = content(tenant)
    for step in ("copy_rows", "flip"):
        with monkeypatch.context() as patch:
            patch.setattr(moving, step, dies)
            with pytest.raises(Killed):
                move(tenant, cell=places["schema"])
        assert now(tenant).state == ("active" if step == "copy_rows" else "moving")
        with pytest.raises(TenantNotActive, match="tenant resume"):
            lifecycle.erase(tenant.slug, actor="test", progress=silent)
        if step == "copy_rows":
            assert lifecycle.resume(tenant.slug, actor="test").state == "active"
            assert content(now(tenant)) == before
            assert not Move.objects.filter(tenant_id=tenant.id).exists()
    with monkeypatch.context() as patch:
        patch.setattr(moving, "clean_source", dies)
        with pytest.raises(Killed):
            move(tenant, cell=places["schema"])
    assert (now(tenant).cell, now(tenant).state) == (places["schema"], "active")
    assert leftovers(deployment, tenant) != {}
    assert move(tenant, cell=places["schema"]).target == places["schema"]
    assert leftovers(deployment, tenant) == {}
    assert content(now(tenant)) == before
