"""Cache keys and sessions belong to the tenant in context."""

from dataclasses import replace
from uuid import UUID

from gateway.cache import tenant_key
from gateway.sessions import SessionStore
from tenants.context import tenant_scope
from tenants.directory import TenantRecord

ACME = TenantRecord(
    UUID(int=1), "acme", "eu", "shared", "public", "active", "EU", 1, ("acme.localhost",)
)
BETA = replace(ACME, id=UUID(int=2), slug="beta", hosts=("beta.localhost",))


def test_two_tenants_never_share_a_cache_key() -> None:
    keys = set()
    for scope in (ACME, BETA, None):
        with tenant_scope(scope):
            keys.add(tenant_key("k", "", 1))
    assert len(keys) == 3


def test_a_renamed_tenant_keeps_its_cache() -> None:
    with tenant_scope(ACME):
        before = tenant_key("k", "", 1)
    with tenant_scope(replace(ACME, slug="acme-two")):
        assert tenant_key("k", "", 1) == before


def cookie_of(scope: TenantRecord | None) -> str:
    with tenant_scope(scope):
        session = SessionStore()
        session["_auth_user_id"] = "1"
        session.save()
        key: str = session.session_key
        return key


def test_a_session_survives_without_any_server_having_stored_it() -> None:
    cookie = cookie_of(ACME)
    with tenant_scope(ACME):
        assert SessionStore(cookie)["_auth_user_id"] == "1"


def test_a_session_of_one_tenant_means_nothing_to_another_or_to_the_console() -> None:
    cookie = cookie_of(ACME)
    for scope in (BETA, None):
        with tenant_scope(scope):
            assert "_auth_user_id" not in SessionStore(cookie)


def test_a_forged_or_broken_session_is_an_empty_one() -> None:
    with tenant_scope(ACME):
        for cookie in ("", "nonsense", cookie_of(ACME)[:-1] + "x"):
            assert SessionStore(cookie).get("_auth_user_id") is None
