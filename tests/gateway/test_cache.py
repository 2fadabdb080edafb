"""Caches of tenants, in Valkey and in memory: nothing is read, counted or cleared across."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
import redis
from django.contrib.sessions.backends import cache as cache_sessions
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import RequestFactory
from django.views.decorators.cache import cache_page

from tenants.context import current_tenant, tenant_scope
from tenants.directory import TenantRecord

ACME = TenantRecord(
    id=uuid4(), slug="acme", cell="c", mode="shared", schema="public", state="active",
    residency="EU", token_generation=1, hosts=("acme.localhost",),
)  # fmt: skip
GLOBEX = replace(ACME, id=uuid4(), slug="globex", hosts=("globex.localhost",))
BOTH = (ACME, GLOBEX)


@pytest.fixture(params=["valkey", "memory"])
def cache(request, settings):
    """Django's default cache, as the platform's settings make it, on an empty store."""
    if request.param == "valkey":
        url = f"{request.getfixturevalue('valkey')}/6"
        settings.CACHES = {
            "default": {**settings.CACHES["default"], "LOCATION": url, "OPTIONS": {}}
        }
        with redis.Redis.from_url(url) as client:
            client.flushdb()
    else:
        settings.CACHES = {
            "default": {
                "BACKEND": "gateway.cache.LocMemCache",
                "KEY_FUNCTION": "gateway.cache.tenant_key",
                "LOCATION": uuid4().hex,
            }
        }
    yield caches["default"]
    caches["default"].close()


def as_each(use):
    """What `use` gives for both tenants, and for none."""
    found = []
    for tenant in (*BOTH, None):
        with tenant_scope(tenant):
            found.append(use())
    return found


def fill(cache, name="k", value=None):
    for tenant in (*BOTH, None):
        with tenant_scope(tenant):
            cache.set(name, value or (tenant.slug if tenant else "nobody"))


def test_the_same_key_is_a_different_entry_for_each(cache):
    fill(cache)
    assert as_each(lambda: cache.get("k")) == ["acme", "globex", "nobody"]


def test_clearing_is_for_oneself_only(cache):
    fill(cache)
    with tenant_scope(ACME):
        cache.clear()
    assert as_each(lambda: cache.get("k")) == [None, "globex", "nobody"]
    cache.clear()
    assert as_each(lambda: cache.get("k")) == [None, "globex", None]


def test_a_pattern_deletes_ones_own_only(cache):
    for name in ("report:1", "report:2", "other"):
        fill(cache, name)
    with tenant_scope(ACME):
        assert cache.delete_pattern("report:*") == 2
        assert cache.delete_pattern("../*") == 0
    assert as_each(lambda: sorted(cache.get_many(["report:1", "report:2", "other"]))) == [
        ["other"],
        ["other", "report:1", "report:2"],
        ["other", "report:1", "report:2"],
    ]


def test_every_other_way_in_keeps_apart_too(cache):
    fill(cache, "n", 1)
    with tenant_scope(ACME):
        assert cache.incr("n") == 2
        assert cache.touch("n", 100)
        assert cache.add("fresh", "acme")
        assert cache.get_or_set("made", lambda: "acme") == "acme"
        cache.set_many({"a": 1, "b": 2})
    with tenant_scope(GLOBEX):
        assert cache.get("n") == 1
        assert cache.get_many(["a", "b", "fresh", "made"]) == {}
        assert not cache.touch("fresh")
        with pytest.raises(ValueError, match="not found"):
            cache.incr("fresh")
        assert cache.add("fresh", "globex")
        cache.delete_many(["a", "b"])
        assert not cache.has_key("a")
    with tenant_scope(ACME):
        assert cache.get_many(["a", "b", "fresh"]) == {"a": 1, "b": 2, "fresh": "acme"}


def test_pages_and_fragments_are_cached_for_each_tenant(cache, settings):
    calls = []

    @cache_page(60)
    def page(request: HttpRequest) -> HttpResponse:
        calls.append(current_tenant().slug)
        return HttpResponse(current_tenant().slug)

    template = engines["django"].from_string(
        "{% load cache %}{% cache 60 part %}{{ slug }}{% endcache %}"
    )
    for _ in range(2):
        for tenant in BOTH:
            with tenant_scope(tenant):
                # The same URL for both: what tells them apart is the scope alone.
                assert page(RequestFactory().get("/same")).content.decode() == tenant.slug
                assert template.render({"slug": tenant.slug}) == tenant.slug
    assert calls == ["acme", "globex"]


def test_a_session_in_the_cache_is_not_found_under_another_tenant(cache):
    with tenant_scope(ACME):
        session = cache_sessions.SessionStore()
        session["user"] = "ann"
        session.create()
    with tenant_scope(GLOBEX):
        stolen = cache_sessions.SessionStore(session.session_key)
        assert stolen.get("user") is None
        assert not stolen.exists(session.session_key)
    with tenant_scope(ACME):
        assert cache_sessions.SessionStore(session.session_key)["user"] == "ann"


def test_every_key_in_valkey_names_its_tenant(cache, request):
    """Whoever looks at the store can tell whose each entry is: for erasure, and for doubts."""
    if "valkey" not in request.node.name:
        pytest.skip("there is no store to look at")
    fill(cache)
    with redis.Redis.from_url(f"{request.getfixturevalue('valkey')}/6") as client:
        owners = {key.rsplit(b":", 3)[0].decode() for key in client.scan_iter()}
    assert owners == {f"t:{ACME.id}", f"t:{GLOBEX.id}", "-"}
