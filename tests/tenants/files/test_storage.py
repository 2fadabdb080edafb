"""Files of tenants, in folders and in buckets: each tenant's own, whatever name is tried."""

from __future__ import annotations

import io
import posixpath
from dataclasses import replace

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from hypothesis import given
from hypothesis import strategies as st

from regions.errors import ResidencyDenied
from tenants.context import tenant_scope
from tenants.errors import NoTenantError, WrongTenantError
from tenants.files.places import store_in
from tenants.files.storage import checked
from tenants.files.transfer import walk
from tests.tenants.files.conftest import read

ESCAPES = [
    "../{other}/secret.txt",
    "a/../../{other}/secret.txt",
    "/etc/passwd",
    "//host/share",
    "..",
    ".",
    "",
    "a//b",
    "a/./b",
    "a\\..\\b",
    "C:/x",
    "s3://bucket/key",
    "a\0b",
    "a\nb",
]


@pytest.fixture
def saved(stores, shared_pair):
    """Both tenants have a file of the same name."""
    save_notes(shared_pair)
    return shared_pair


def save_notes(tenants):
    for tenant in tenants:
        with tenant_scope(tenant):
            default_storage.delete("docs/note.txt")
            default_storage.save("docs/note.txt", ContentFile(tenant.slug.encode()))


def test_each_tenant_reads_its_own_file_of_the_same_name(saved):
    for tenant in saved:
        with tenant_scope(tenant):
            with default_storage.open("docs/note.txt") as file:
                assert file.read() == tenant.slug.encode()
            assert default_storage.listdir("docs") == ([], ["note.txt"])
            assert default_storage.listdir("") == (["docs"], [])
            assert default_storage.size("docs/note.txt") == len(tenant.slug)


def test_a_name_that_is_taken_gets_another_one(saved):
    with tenant_scope(saved[0]):
        second = default_storage.save("docs/note.txt", ContentFile(b"second"))
        assert second != "docs/note.txt"
        assert second.startswith("docs/note_")
        assert read(default_storage, "docs/note.txt") == saved[0].slug.encode()
        default_storage.delete(second)


def test_deleting_is_for_oneself_only(saved):
    one, other = saved
    with tenant_scope(one):
        default_storage.delete("docs/note.txt")
        assert not default_storage.exists("docs/note.txt")
    with tenant_scope(other):
        assert default_storage.exists("docs/note.txt")


def test_no_name_leads_out_of_the_tenants_files(saved):
    one, other = saved
    uses = {
        "open": default_storage.open,
        "exists": default_storage.exists,
        "delete": default_storage.delete,
        "size": default_storage.size,
        "url": default_storage.url,
        "save": lambda name: default_storage.save(name or "..", ContentFile(b"x")),
        "listdir": lambda name: default_storage.listdir(name or ".."),
    }
    with tenant_scope(one):
        for name in ESCAPES:
            for use, call in uses.items():
                if use == "listdir" and name == ".":
                    continue
                with pytest.raises(SuspiciousFileOperation):
                    call(name.format(other=other.id))
                    pytest.fail(f"{use} of {name!r} was allowed")


@given(st.text(alphabet="a./\\:\0", max_size=12))
def test_a_checked_name_stays_below_its_root(name):
    try:
        text = checked(name)
    except SuspiciousFileOperation:
        return
    assert posixpath.normpath(f"/store/{text}") == f"/store/{text}"


def test_without_a_tenant_nothing_is_read_or_written(saved):
    for use in (
        lambda: default_storage.open("docs/note.txt"),
        lambda: default_storage.save("x", io.BytesIO(b"x")),
        lambda: default_storage.listdir(""),
        lambda: default_storage.exists("docs/note.txt"),
        lambda: default_storage.url("docs/note.txt"),
    ):
        with pytest.raises(NoTenantError):
            use()


def test_an_open_file_is_not_read_under_another_tenant(saved):
    one, other = saved
    with tenant_scope(one):
        file = default_storage.open("docs/note.txt")
    with tenant_scope(other):
        for use in (lambda: file.read(), lambda: next(iter(file.chunks())), lambda: file.size):
            with pytest.raises(WrongTenantError):
                use()
    assert file.read() == one.slug.encode()
    file.close()


def test_files_are_in_the_home_region_of_the_cell_under_the_tenants_id(stores, pair):
    save_notes(pair)
    for tenant in pair:
        assert [*walk(store_in("eu-west", tenant.id))] == ["docs/note.txt"]
        for region in ("eu-central", "us-east"):
            assert [*walk(store_in(region, tenant.id))] == []


def test_residency_is_asked_whatever_the_registry_says(stores, shared_pair):
    """Q07"""
    american = replace(shared_pair[0], residency="US")
    with tenant_scope(american), pytest.raises(ResidencyDenied, match="Q07"):
        default_storage.save("x", ContentFile(b"x"))
