"""A tenant works while its rows are copied, and what it does meanwhile comes along."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import Error, connections

from desk.models import Comment, Customer, Tag, Ticket
from tenants import lifecycle
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.errors import MoveFailed, TenantNotActive
from tests.tenants.moves import content, fresh, move, now, target_of
from tests.tenants.replicas import differences

# The package shows the verb under the module's name.
moving = import_module("tenants.lifecycle.move")

PATIENCE_SECONDS = 240.0


def after(monkeypatch, step: str, act: Callable[[], Any]) -> None:
    """`act` is done when that step of a move has been, for the first time."""
    original = getattr(moving, step)
    waiting = [act]

    def does(*args: Any, **options: Any) -> Any:
        result = original(*args, **options)
        if waiting:
            waiting.pop()()
        return result

    monkeypatch.setattr(moving, step, does)


def live(round_of: str) -> None:
    """What a tenant does in a day: new, changed and deleted rows, values exchanged."""
    one, other, gone = Customer.objects.order_by("id")[:3]
    first, second = one.email, other.email
    for customer, email in ((one, "between"), (other, first), (one, second)):
        Customer.objects.filter(id=customer.id).update(email=email)
    Ticket.objects.filter(customer=gone).delete()
    gone.delete()
    Customer.objects.create(name="returns", email=gone.email)
    new = Ticket.objects.create(title=f"new in {round_of}", customer=one)
    new.tags.set(Tag.objects.all())
    Comment.objects.create(ticket=new, author="bob", body=round_of)
    old = Ticket.objects.filter(votes__gte=10).order_by("id").first()
    assert old is not None
    Ticket.objects.filter(id=old.id).update(votes=1000, body=round_of)
    old.tags.clear()
    # Gone and back under its key.
    kept = Ticket.objects.exclude(id=old.id).order_by("id")[5]
    key = kept.pk
    kept.delete()
    Ticket.objects.create(pk=key, title=f"back in {round_of}")
    User.objects.filter(username="ann").update(first_name=round_of)


@pytest.mark.parametrize(
    ("source", "target"),
    [("shared", "other"), ("shared", "dedicated"), ("dedicated", "schema"), ("schema", "shared")],
)
def test_what_a_tenant_does_while_it_is_copied_comes_along(
    places: dict[str, str], monkeypatch, source: str, target: str
):
    neighbour, tenant = fresh(places, source), fresh(places, source)
    beside = content(neighbour)
    left: dict[str, list[Any]] = {}

    def act(step: str) -> None:
        with tenant_scope(tenant):
            live(step)
        left.update(content(tenant))

    after(monkeypatch, "copy_rows", lambda: act("copy"))
    after(monkeypatch, "copy_changes", lambda: act("catching up"))
    report = move(tenant, **target_of(places, target))
    moved = now(tenant)
    assert moved.cell == report.target
    assert content(moved) == left
    assert {row[1] for row in left["Ticket"]} >= {"new in copy", "new in catching up"}
    assert content(neighbour) == beside
    for cell in {moved.cell, neighbour.cell}:
        assert differences(cell) == []


def test_clients_are_answered_while_rows_are_copied_and_lose_nothing(
    places: dict[str, str], monkeypatch
):
    tenant = fresh(places, "shared")
    written: list[str] = []
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            title = f"w{len(written)}"
            try:
                with tenant_scope(now(tenant)):
                    Ticket.objects.create(title=title)
                written.append(title)
            except (Error, TenantNotActive):
                time.sleep(0.01)  # as the edge does with 503 and Retry-After
        connections.close_all()

    def wait_for_more() -> None:
        enough = len(written) + 10
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(written) < enough:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    after(monkeypatch, "copy_rows", wait_for_more)
    after(monkeypatch, "copy_changes", wait_for_more)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        move(tenant, cell=places["other"])
        wait_for_more()
    finally:
        stop.set()
        writer.join()
    with tenant_scope(now(tenant)):
        found = list(Ticket.objects.filter(title__startswith="w").values_list("title", flat=True))
    assert sorted(found) == sorted(written)


def test_a_tenant_that_is_suspended_meanwhile_stays_so_where_it_was(
    places: dict[str, str], monkeypatch
):
    tenant = fresh(places, "shared")
    before = content(tenant)
    after(monkeypatch, "copy_rows", lambda: lifecycle.suspend(tenant.slug, actor="test"))
    with pytest.raises(MoveFailed, match="suspended"):
        move(tenant, cell=places["other"])
    stopped: TenantRecord = now(tenant)
    assert (stopped.cell, stopped.state) == (tenant.cell, "suspended")
    lifecycle.resume(tenant.slug, actor="test")
    assert content(now(tenant)) == before
