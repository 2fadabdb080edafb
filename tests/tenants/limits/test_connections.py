"""A tenant's connections: no more than its limit, in whatever way they are taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date

import pytest
from django.db import connections, transaction

from desk.models import Tag
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.limits import connections as module
from tenants.limits.connections import Holders, TooManyConnections, holders
from tenants.limits.counts import Counts
from tenants.limits.pulse import Pulse
from tenants.limits.store import Store
from tenants.limits.values import resolve


class Holder:
    """Stands for a thread's database wrapper."""


@pytest.fixture
def alone() -> Holders:
    return Holders(None)


def test_no_more_are_held_than_allowed_and_who_leaves_makes_room(alone, limited):
    tenant, kept = limited(connections=2), [Holder(), Holder(), Holder()]
    for holder in kept[:2]:
        alone.enter(tenant, holder)
    with pytest.raises(TooManyConnections, match="all of its 2 connections"):
        alone.enter(tenant, kept[2])
    alone.leave(tenant.id, kept[0])
    alone.enter(tenant, kept[2])


def test_other_tenants_do_not_notice(alone, limited):
    full, other, free = limited(connections=1), limited(connections=1), limited(rows=1)
    kept = Holder()
    alone.enter(full, kept)
    alone.enter(other, kept)
    for _ in range(3):
        alone.enter(free, Holder())


def test_who_waits_gets_what_becomes_free_within_a_moment(alone, limited, monkeypatch):
    monkeypatch.setattr(module, "WAIT_SECONDS", 60.0)
    tenant, first, second = limited(connections=1), Holder(), Holder()
    alone.enter(tenant, first)
    threading.Timer(0.05, alone.leave, (tenant.id, first)).start()
    alone.enter(tenant, second)


def test_what_a_thread_has_left_behind_counts_no_more(alone, limited):
    tenant = limited(connections=1)
    alone.enter(tenant, Holder())
    kept = Holder()
    alone.enter(tenant, kept)
    assert alone.full(tenant)


@pytest.fixture
def process(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Holders]:
    """Each call is another process of the region, which tells when the test says so."""
    monkeypatch.setattr(Pulse, "start", lambda pulse: None)
    monkeypatch.setattr(module, "LEASE_SECONDS", 600.0)
    return lambda: Holders(store)


def test_processes_of_a_region_hold_no_more_together(process, limited):
    tenant, kept = limited(connections=2), [Holder(), Holder()]
    one, other = process(), process()
    for holder in kept:
        one.enter(tenant, holder)
    other.enter(tenant, late := Holder())  # nobody has told it yet
    one.tell()
    other.tell()
    other.leave(tenant.id, late)
    with pytest.raises(TooManyConnections):
        other.enter(tenant, Holder())
    one.leave(tenant.id, kept[0])
    one.leave(tenant.id, kept[1])
    one.tell()
    other.tell()
    other.enter(tenant, late)


def test_a_process_that_was_killed_holds_nothing_for_long(process, limited, monkeypatch):
    tenant, kept, late = limited(connections=1), Holder(), Holder()
    killed, other = process(), process()
    other.enter(tenant, late)
    killed.enter(tenant, kept)
    killed.tell()
    other.tell()
    other.leave(tenant.id, late)
    assert other.full(tenant)
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.2)
    killed.tell()  # for the last time
    time.sleep(0.3)
    with pytest.raises(TooManyConnections):
        other.enter(tenant, late)
    other.tell()
    other.enter(tenant, late)


def test_the_most_that_were_held_is_counted_for_the_day(process, store, limited, monkeypatch):
    day = date(2026, 3, 2)
    monkeypatch.setattr(module, "today", lambda: day)
    tenant, kept = limited(connections=9), [Holder() for _ in range(3)]
    one = process()
    for holder in kept:
        one.enter(tenant, holder)
    for holder in kept:
        one.leave(tenant.id, holder)
    one.tell()
    counts = Counts(store)
    assert tenant.id in counts.active(day)
    assert counts.done([tenant.id], day)[tenant.id].connections == 3


@pytest.fixture
def capped(pair) -> Iterator[TenantRecord]:
    """The first of the two may hold two connections."""
    holders.forget()
    connections.close_all()
    yield replace(pair[0], limits=resolve({"connections": 2}, {}))
    connections.close_all()
    holders.forget()


def test_real_connections_are_capped_and_given_back(capped, pair):
    holding, go = threading.Semaphore(0), threading.Event()

    def hold(tenant: TenantRecord) -> None:
        with tenant_scope(tenant):
            try:
                with transaction.atomic():
                    Tag.objects.count()
                    holding.release()
                    go.wait(60)
            finally:
                connections.close_all()  # this thread's, the control cell's too

    def hold_soon(tenant: TenantRecord) -> None:
        """What others held before may count for a moment."""
        deadline = time.monotonic() + 30
        while True:
            try:
                return hold(tenant)
            except TooManyConnections:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def look(tenant: TenantRecord) -> str:
        with tenant_scope(tenant):
            try:
                Tag.objects.count()
                return "served"
            except TooManyConnections:
                return "refused"
            finally:
                connections.close_all()  # this thread's, the control cell's too

    with ThreadPoolExecutor(4) as threads:
        held = [threads.submit(hold_soon, capped) for _ in range(2)]
        for _ in held:
            if not holding.acquire(timeout=50):
                go.set()
                pytest.fail(f"not held: {[one.exception() for one in held]}")
        assert threads.submit(look, capped).result() == "refused"
        assert threads.submit(look, pair[1]).result() == "served"
        go.set()
        for one in held:
            one.result()
        assert threads.submit(look, capped).result() == "served"


def test_one_thread_that_works_for_many_counts_for_each_in_turn(capped, pair):
    """As a command does that goes through the tenants."""
    others = [replace(one, limits=resolve({"connections": 1}, {})) for one in pair]
    for _ in range(2):
        for tenant in others:
            with tenant_scope(tenant):
                Tag.objects.count()
    with tenant_scope(others[0]):
        Tag.objects.count()
        full = [holders().full(one) for one in others]
    if others[0].cell == others[1].cell:
        assert full == [True, False]
    else:
        assert full == [True, True]
