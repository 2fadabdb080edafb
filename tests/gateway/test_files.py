"""Links to files: for one tenant, on its own host, for a while."""

from __future__ import annotations

import time

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client

from tenants.context import tenant_scope
from tenants.files import links
from tenants.seams import local_directory

SECRET = b"the secret of acme"


@pytest.fixture
def url(served) -> str:
    """A link to a file that acme has; beta has one of the same name."""
    known = local_directory().current().by_slug
    made = {}
    for slug, content in (("acme", SECRET), ("beta", b"beta's own")):
        with tenant_scope(known[slug]):
            default_storage.delete("secret.txt")
            default_storage.save("secret.txt", ContentFile(content))
            made[slug] = default_storage.url("secret.txt")
    return made["acme"]


def get(url: str, tenant: str = "acme"):
    return Client(headers={"host": f"{tenant}.localhost"}).get(url)


def test_a_link_opens_its_file_on_the_tenants_host(url):
    response = get(url)
    assert response.status_code == 200
    assert response.getvalue() == SECRET
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response["Content-Security-Policy"]


def test_a_link_opens_nothing_on_another_tenants_host(url):
    response = get(url, "beta")
    assert response.status_code == 403
    assert b"secret of acme" not in response.content


@pytest.mark.parametrize("change", [
    lambda url: url.replace("secret.txt", "other.txt"),
    lambda url: url.replace("?e=", "?e=9"),
    lambda url: url[:-1] + ("0" if url[-1] != "0" else "1"),
    lambda url: url.partition("?")[0],
    lambda url: url.replace("?e=", "?e=x"),
])  # fmt: skip
def test_a_link_that_was_changed_opens_nothing(url, change):
    assert get(change(url)).status_code == 403


def test_a_link_ends(url, monkeypatch):
    later = time.time() + 3 * 3600
    monkeypatch.setattr(links.time, "time", lambda: later)
    assert get(url).status_code == 403


def test_a_link_is_the_same_for_a_while(url, monkeypatch):
    acme = local_directory().current().by_slug["acme"]
    moment = 1000 * 3600.0
    monkeypatch.setattr(links.time, "time", lambda: moment)
    first = links.link(acme, "a")
    moment += 1800
    assert links.link(acme, "a") == first


@pytest.mark.parametrize("name", ["page.html", "image.svg", "app.js"])
def test_what_a_browser_would_run_is_downloaded(served, name):
    with tenant_scope(local_directory().current().by_slug["acme"]):
        default_storage.delete(name)
        default_storage.save(name, ContentFile(b"<script>alert(1)</script>"))
        link = default_storage.url(name)
    response = get(link)
    assert response["Content-Disposition"].startswith("attachment")
    response.close()


def test_a_file_that_is_gone_is_not_found(url):
    with tenant_scope(local_directory().current().by_slug["acme"]):
        default_storage.delete("secret.txt")
    assert get(url).status_code == 404


def test_files_are_only_read(url):
    assert Client(headers={"host": "acme.localhost"}).post(url).status_code in (403, 405)
