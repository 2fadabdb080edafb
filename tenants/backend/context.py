"""What is sent in front of a statement, and when nothing may be sent at all.

Guarantees that a cell's statement carries the tenant that is in scope when it runs (not when its
queryset was built), signed for that cell only, and that the application role runs nothing
without one.
"""

from __future__ import annotations

import re
import time
from base64 import b64encode
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha384
from typing import NamedTuple
from uuid import UUID

from django.conf import settings

from regions.deployment import APP_ROLE
from tenants.context import current_tenant_or_none
from tenants.directory import TenantRecord
from tenants.errors import NoTenantError, WrongTenantError
from tenants.fencing import Claim, claim_in_scope, current_claim
from tenants.work import current_label, quoted

# A context that leaks (a log, a core dump) is worthless after this; a transaction that runs
# longer is unaffected, because each statement brings a new one.
LIFETIME_SECONDS = 300
RENEW_SECONDS = 60

_KEY_BYTES = 32
_CLAIM_BYTES = 48  # an id, a point, an expiry, a point

_CONTEXT = re.compile(r"'([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.\d+\.")
_CONTEXT_WITHIN = 120


def sign_context(key: bytes, tenant: UUID, expiry: int) -> str:
    """`<uuid>.<expiry>.<signature>`, as `tenancy.current_tenant()` checks it.

    The signature is the hash of all that with the key in its place, and sound because both have
    one length and stand at one place (docs/adr/0037).
    """
    claim = f"{tenant}.{expiry}.".encode()
    if len(key) != _KEY_BYTES or len(claim) != _CLAIM_BYTES:
        raise ValueError("a context has a key of 32 bytes and an expiry of ten digits")
    return claim.decode() + b64encode(sha384(claim + key).digest()).decode()


@lru_cache(maxsize=4096)
def sql_comment(slug: str, label: bytes = b"") -> bytes:
    """`/*route='tickets/',tenant='acme'*/`: for whoever reads the server's activity or log."""
    return b"/*%btenant='%b'*/" % (label, quoted(slug).encode())


def context_statement(key: bytes, tenant: UUID, schema: str, expiry: int) -> bytes:
    """What puts a transaction under a tenant: settings, which need no planning.

    Each ends its line, so that PostgreSQL's error excerpts (`LINE 3: …`) never show the signature.
    """
    context = f"SET LOCAL meridian.context = '{sign_context(key, tenant, expiry)}';\n"
    return (context + _search_path(schema)).encode()


def _search_path(schema: str) -> str:
    """The tenant's tables, then what stands in for functions that reach across tenants. Where a
    tenant has no schema of its own, sessions begin with that (`regions.cells.APP_SETTINGS`)."""
    if schema == "public":
        return ""
    name = schema.replace('"', '""')
    return f'SET LOCAL search_path = "{name}", standin, pg_catalog;\n'


def tenant_of(statement: str) -> UUID | None:
    """Whom a statement on the wire, or in the server's list of activity, works for.

    What the platform sends comes first: nothing that a tenant adds can take its place.
    """
    found = _CONTEXT.search(statement[:_CONTEXT_WITHIN])
    return UUID(found[1]) if found else None


class Prefix(NamedTuple):
    """What goes in front of a statement, and how many results it yields."""

    text: bytes
    results: int


@lru_cache(maxsize=4096)
def _settings_of(
    key: bytes, tenant: UUID, schema: str, statement_ms: int | None, slot: int
) -> Prefix:
    """Signed once a minute for all of the tenant's connections and labels."""
    text = context_statement(key, tenant, schema, slot * RENEW_SECONDS + LIFETIME_SECONDS)
    if statement_ms is not None:
        # Within one message each statement has the time that was set before it began.
        text += f"SET LOCAL statement_timeout = {statement_ms};\n".encode()
    return Prefix(text, text.count(b"\n"))


# A prefix behind what it is for (the last two: from when, until when): it stays until any of that
# is another.
_Sent = tuple[TenantRecord, bytes, Claim | None, float, float, Prefix]


@dataclass(slots=True)
class CellContext:
    """One connection's cell: who it is for, and the key that its databases trust."""

    cell: str
    role: str
    key: bytes
    _latest: _Sent | None = field(default=None, init=False, repr=False, compare=False)

    def tenant(self) -> TenantRecord | None:
        """The tenant that the next statement is for; None only for an operator's connection."""
        tenant = current_tenant_or_none()
        if tenant is None:
            if self.role == APP_ROLE:
                raise NoTenantError(
                    f"A statement for cell {self.cell!r} has no tenant in context: wrap the code "
                    "in `tenant_scope(tenant)` or run it through `manage.py tenant exec`."
                )
            return None
        if tenant.cell != self.cell:
            raise WrongTenantError(
                f"Tenant {tenant.slug!r} lives in cell {tenant.cell!r}, but this connection is "
                f"for cell {self.cell!r}: evaluate querysets inside the scope they belong to."
            )
        return tenant

    def prefix(self) -> Prefix | None:
        """What to send in front of a statement now."""
        label, claim, now = current_label(), claim_in_scope(), time.time()
        # A request's statements follow one another: most find what the one before was given.
        if self._latest is not None:
            tenant, its_label, its_claim, since, until, prefix = self._latest
            if (
                tenant is current_tenant_or_none()
                and its_label == label
                and its_claim is claim
                and since <= now < until
            ):
                return prefix
        asking = self.tenant()
        if asking is None:
            return None
        slot = int(now) // RENEW_SECONDS
        # The clock's own type: to compare two kinds of numbers takes ten times as long.
        since, until = float(slot * RENEW_SECONDS), float((slot + 1) * RENEW_SECONDS)
        prefix = self._prefix(asking, label, slot)
        self._latest = asking, label, claim, since, until, prefix
        return prefix

    def _prefix(self, tenant: TenantRecord, label: bytes, slot: int) -> Prefix:
        text, results = _settings_of(
            self.key, tenant.id, tenant.schema, tenant.limits.statement_ms, slot
        )
        claim = current_claim(tenant.id)
        if claim is not None:
            text, results = text + claim.statement, results + 1
        comment = sql_comment(tenant.slug, label) if settings.MERIDIAN_SQL_COMMENTS else b""
        return Prefix(text + comment, results)
