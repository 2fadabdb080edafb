"""Files count in the quota of bytes: refused when they don't fit, given back when deleted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.http import HttpResponse
from django.test import RequestFactory

from gateway.transactions import explain_exception
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.errors import QuotaExceeded
from tenants.files.places import store_in
from tenants.limits import files as counting
from tenants.limits import rounds
from tenants.limits.counts import Counts
from tenants.limits.judge import Held, worst
from tenants.limits.store import store_of
from tenants.limits.values import resolve
from testkit.control import forget_maps, publish_maps
from tests.tenants.conftest import EU, HOME
from tests.tenants.files.conftest import s3, stores  # noqa: F401 - fixtures

KIB = 1024
Limited = Callable[[int], TenantRecord]


@pytest.fixture
def room(
    stores,  # noqa: F811
    shared_pair,
    deployment,
    valkeys,
    settings,
    monkeypatch,
) -> Iterator[Limited]:
    """`room(n)`: a tenant of the region with a quota of n bytes, in whose scope the test runs."""
    settings.MERIDIAN_REGION = HOME
    monkeypatch.setattr("tenants.limits.store.PATIENCE_SECONDS", 10.0)
    monkeypatch.setattr("tenants.limits.store.RETRY_SECONDS", 60.0)
    forget_stores()
    publish_maps(deployment)
    base = shared_pair[0]
    scopes = []

    def make(allowed: int) -> TenantRecord:
        tenant = replace(base, id=uuid4(), limits=resolve({"bytes": allowed}, {}))
        scopes.append(tenant_scope(tenant))
        scopes[-1].__enter__()
        return tenant

    yield make
    for scope in reversed(scopes):
        scope.__exit__(None, None, None)
    forget_maps(deployment)
    forget_stores()


def forget_stores() -> None:
    for region in EU:
        store_of(region).client.close()
    store_of.cache_clear()


def save(kib: int, name: str = "a.bin") -> str:
    return default_storage.save(name, ContentFile(b"x" * kib * KIB))


def held(tenant: TenantRecord) -> int:
    return Counts(store_of(HOME)).files([tenant.id]).get(tenant.id, 0)


def test_a_file_that_does_not_fit_is_refused_and_not_there(room: Limited):
    tenant = room(10 * KIB)
    save(8)
    with pytest.raises(QuotaExceeded, match=f"{8 * KIB} of {10 * KIB} bytes") as refusal:
        save(3, "b.bin")
    assert refusal.value.what == "bytes"
    assert not default_storage.exists("b.bin")
    save(2, "b.bin")
    assert held(tenant) == 10 * KIB


def test_what_is_deleted_makes_room(room: Limited):
    tenant = room(10 * KIB)
    name = save(8)
    default_storage.delete(name)
    assert held(tenant) == 0
    save(9)
    default_storage.delete("never.there")
    assert held(tenant) == 9 * KIB


def test_rows_and_files_fill_one_quota(room: Limited):
    tenant = room(10 * KIB)
    Counts(store_of(HOME)).hold({tenant.id: Held(5, 8 * KIB)})
    with pytest.raises(QuotaExceeded):
        save(3)
    save(1)
    told = Counts(store_of(HOME)).held([tenant.id])[tenant.id]
    assert told == Held(5, 8 * KIB, KIB)
    standing = worst(told, tenant.limits)
    assert (standing.what, standing.used, standing.state) == ("bytes", 9 * KIB, "near")


def test_saves_at_the_same_time_do_not_go_past_it_together(room: Limited):
    tenant = room(10 * KIB)

    def try_one(number: int) -> bool:
        with tenant_scope(tenant):
            try:
                save(4, f"{number}.bin")
            except QuotaExceeded:
                return False
            return True

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(try_one, range(6))) == 2
    assert held(tenant) == 8 * KIB


def test_a_save_that_fails_takes_no_room(room: Limited, monkeypatch):
    tenant = room(10 * KIB)

    class Broken(ContentFile):
        def chunks(self, chunk_size=None):
            raise OSError("the upload broke off")

        def read(self, *args):
            raise OSError("the upload broke off")

    with pytest.raises(OSError, match="broke off"):
        default_storage.save("a.bin", Broken(b"x" * KIB))
    assert held(tenant) == 0


def test_nothing_is_opened_for_writing_when_it_is_full(room: Limited):
    room(2 * KIB)
    name = save(2)
    with default_storage.open(name) as file:
        assert file.read(1) == b"x"
    with pytest.raises(QuotaExceeded):
        default_storage.open(name, "wb")


def test_the_count_heals_from_the_files_that_are_there(room: Limited, stores):  # noqa: F811
    tenant = room(10 * KIB)
    save(4, "a/b/one.bin")
    save(2, "two.bin")
    counts = Counts(store_of(HOME))
    store_of(HOME).client.flushdb()
    files = store_in(HOME, tenant.id)
    assert counting.stored_bytes(files) == 6 * KIB
    counting.measure_files([(tenant, files)], counts)
    assert held(tenant) == 6 * KIB
    counts.add_files(tenant.id, KIB)  # as if something had gone wrong
    counting.measure_files([(tenant, files)], counts)
    assert held(tenant) == 6 * KIB


def test_without_the_regions_store_files_are_saved(room: Limited):
    room(KIB)
    store_of(HOME).failed()
    save(2)


def test_who_has_no_quota_of_bytes_is_not_counted_at_each_save(room: Limited, shared_pair):
    tenant = replace(room(KIB), id=uuid4(), limits=resolve({}, {}))
    with tenant_scope(tenant):
        default_storage.delete(save(4))
    assert held(tenant) == 0


def test_the_keeper_counts_a_regions_files_and_its_peer_hears_of_them(
    stores,  # noqa: F811
    shared_pair,
    valkeys,
    deployment,
    settings,
):
    tenant = shared_pair[0]
    forget_stores()
    publish_maps(deployment)
    try:
        settings.MERIDIAN_REGION = HOME
        rounds.measure_files_of(HOME)
        expected = held(tenant) + 3 * KIB
        with tenant_scope(tenant):
            name = save(3)
        assert rounds.measure_files_of(HOME) >= 1
        assert held(tenant) == expected
        settings.MERIDIAN_REGION = "eu-central"
        rounds.measure_files_of("eu-central")
        assert Counts(store_of("eu-central")).files([tenant.id]) == {tenant.id: expected}
        settings.MERIDIAN_REGION = HOME
        with tenant_scope(tenant):
            default_storage.delete(name)
    finally:
        forget_maps(deployment)


def test_a_view_that_saves_too_much_answers_507(shared_pair, settings):
    settings.MERIDIAN_REGION = HOME
    with tenant_scope(replace(shared_pair[0], plan="small")):
        error = QuotaExceeded("bytes", used=8, allowed=10)
        answer = explain_exception(RequestFactory().post("/"), error)
    assert isinstance(answer, HttpResponse)
    assert answer.status_code == 507
    told = json.loads(answer.content)
    assert told["type"] == "urn:meridian:problem:quota-exceeded"
    assert (told["limit"], told["used"], told["allowed"]) == ("bytes", 8, 10)
