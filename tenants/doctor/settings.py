"""Are Django's settings the ones that keep tenants apart in every process?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core.signing import Signer
from django.db.models.query import QuerySet

from tenants.doctor.findings import Finding, Severity

NAME = "settings"

_ROUTER = "tenants.router.TenantRouter"
_BACKEND = "tenants.backend"
_KEY_FUNCTION = "gateway.cache.tenant_key"
_SESSIONS = "gateway.sessions"
_TENANT = "gateway.middleware.tenant_middleware"
_TRANSACTION = "gateway.transactions.transaction_middleware"
# They know who somebody is, or keep answers: only once the tenant is known.
_AFTER_TENANT = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.cache.UpdateCacheMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
)


def check() -> Iterator[Finding]:
    def danger(what: str, step: str) -> Finding:
        return Finding(NAME, Severity.DANGER, what, step)

    if not settings.DATABASE_ROUTERS or settings.DATABASE_ROUTERS[0] != _ROUTER:
        yield danger(
            "Another router decides first which database a model is in.",
            f"Put {_ROUTER} first in DATABASE_ROUTERS.",
        )
    for alias, entry in settings.DATABASES.items():
        if entry.get("ENGINE") != _BACKEND:
            yield danger(
                f"The database {alias!r} is not opened by {_BACKEND}: no tenant goes with its SQL.",
                f"Set its ENGINE to {_BACKEND}.",
            )
    for alias, entry in settings.CACHES.items():
        if entry.get("KEY_FUNCTION") != _KEY_FUNCTION and "dummy" not in entry["BACKEND"]:
            yield danger(
                f"The keys of cache {alias!r} do not name the tenant.",
                f"Set its KEY_FUNCTION to {_KEY_FUNCTION}.",
            )
    if settings.SESSION_ENGINE != _SESSIONS:
        yield danger("Sessions are not bound to a tenant.", f"Set SESSION_ENGINE to {_SESSIONS}.")
    if settings.SESSION_COOKIE_DOMAIN or settings.CSRF_COOKIE_DOMAIN:
        yield danger(
            "Cookies name a domain: a browser takes one tenant's to another's host.",
            "Leave SESSION_COOKIE_DOMAIN and CSRF_COOKIE_DOMAIN unset.",
        )
    yield from _order(settings.MIDDLEWARE)
    if not hasattr(QuerySet, "_tenant") or not hasattr(Signer.signature, "__wrapped__"):
        yield danger(
            "Objects, querysets and signatures are not bound to their tenants.",
            "Keep 'tenants' in INSTALLED_APPS: its AppConfig does that.",
        )


def _order(middleware: Sequence[str]) -> Iterator[Finding]:
    """The tenant is known before anybody is; a request's transaction is innermost."""
    places: dict[str, Any] = {name: place for place, name in enumerate(middleware)}
    if _TENANT not in places:
        yield Finding(
            NAME, Severity.DANGER, "No request has a tenant.", f"Put {_TENANT} into MIDDLEWARE."
        )
        return
    for name in _AFTER_TENANT:
        if places.get(name, len(middleware)) < places[_TENANT]:
            yield Finding(
                NAME,
                Severity.DANGER,
                f"{name} works before the tenant is known.",
                f"Put it after {_TENANT} in MIDDLEWARE.",
            )
    if middleware[-1] != _TRANSACTION:
        yield Finding(
            NAME,
            Severity.WARNING,
            "What stands after the transaction's middleware writes outside of it.",
            f"Put {_TRANSACTION} last in MIDDLEWARE.",
        )
