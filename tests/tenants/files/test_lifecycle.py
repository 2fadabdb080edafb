"""Files go with their tenant: along when it moves to another region, away when it is erased."""

from __future__ import annotations

import os
import time
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from tenants import lifecycle
from tenants.context import tenant_scope
from tenants.errors import MoveFailed
from tenants.files import transfer
from tenants.files.places import store_in
from tenants.seams import record_for
from tests.tenants.conftest import onboard, silent
from tests.tenants.files.conftest import read
from tests.tenants.moves import move, now

NAMES = ["a/b/deep.bin", "ünï code.txt", "top.txt"]


def content(region, tenant):
    store = store_in(region, tenant.id)
    return {name: read(store, name) for name in transfer.walk(store)}


def fresh(places):
    slug = f"fl{uuid4().hex[:8]}"
    return record_for(onboard(slug, "shared", "UNRESTRICTED", cell=places["shared"]))


@pytest.fixture
def tenant(stores, places):
    tenant = record_for(
        onboard(f"fl{uuid4().hex[:8]}", "shared", "UNRESTRICTED", cell=places["shared"])
    )
    with tenant_scope(tenant):
        for name in NAMES:
            default_storage.save(name, ContentFile(os.urandom(100_000)))
    return tenant


def test_a_move_to_another_region_carries_the_files_and_leaves_none(tenant, places):
    before = content("eu-west", tenant)
    assert set(before) == set(NAMES)
    move(tenant, cell=places["us"])
    assert content("us-east", tenant) == before
    assert content("eu-west", tenant) == {}
    with tenant_scope(now(tenant)):
        assert read(default_storage, "top.txt") == before["top.txt"]


def test_a_move_within_the_region_leaves_the_files_alone(tenant, places):
    before = content("eu-west", tenant)
    move(tenant, cell=places["other"])
    assert content("eu-west", tenant) == before


def test_a_move_that_stops_leaves_the_files_where_they_were(tenant, places, monkeypatch):
    before = content("eu-west", tenant)

    def broken(store, name):
        return str(time.monotonic_ns())

    monkeypatch.setattr(transfer, "digest", broken)
    with pytest.raises(MoveFailed, match="is not what was read"):
        move(tenant, cell=places["us"])
    monkeypatch.undo()
    assert now(tenant).state == "active"
    assert content("eu-west", tenant) == before
    assert content("us-east", tenant) == {}


def test_what_was_saved_or_deleted_meanwhile_is_carried_too(tenant):
    transfer.carry(tenant.id, "eu-west", "us-east")
    store = store_in("eu-west", tenant.id)
    store.save("late.txt", ContentFile(b"late"))
    store.delete("top.txt")
    changed = store.size("a/b/deep.bin")
    store.delete("a/b/deep.bin")
    store.save("a/b/deep.bin", ContentFile(b"x" * changed))
    assert transfer.carry(tenant.id, "eu-west", "us-east") == 2
    assert content("us-east", tenant) == content("eu-west", tenant)
    transfer.remove(tenant.id, keep="eu-west")


def test_erasing_a_tenant_deletes_its_files_and_nobody_elses(tenant, places):
    neighbour = record_for(
        onboard(f"fl{uuid4().hex[:8]}", "shared", "UNRESTRICTED", cell=places["shared"])
    )
    with tenant_scope(neighbour):
        default_storage.save("kept.txt", ContentFile(b"kept"))
    lifecycle.erase(tenant.slug, actor="test", progress=silent)
    assert content("eu-west", tenant) == {}
    assert content("eu-west", neighbour) == {"kept.txt": b"kept"}
