"""API tokens: stateless, bound to one tenant and its token generation.

Guarantees that a token of one tenant is worthless under another, that raising a tenant's
generation revokes all tokens issued before, and that verifying costs no query.
"""

from __future__ import annotations

import hmac
import secrets

from regions.current import deployment
from tenants.directory import TenantRecord
from tenants.models import Tenant

PREFIX = "mt_"


def issue(tenant: Tenant | TenantRecord) -> str:
    """A new token for the tenant."""
    nonce = secrets.token_urlsafe(12)
    claim = f"{tenant.id.hex}.{tenant.token_generation}.{nonce}"
    return f"{PREFIX}{claim}.{_signature(claim)}"


def verify(token: str, record: TenantRecord) -> bool:
    """Whether the token is genuine, the tenant's own and not revoked."""
    if not token.isascii():
        return False  # not one of ours, and it may be text that no encoding knows
    claim, _, signature = token.removeprefix(PREFIX).rpartition(".")
    if not hmac.compare_digest(_signature(claim).encode(), signature.encode()):
        return False
    tenant, generation, _nonce = claim.split(".")
    return tenant == record.id.hex and generation == str(record.token_generation)


def _signature(claim: str) -> str:
    return hmac.digest(deployment().secrets.derive("api-token"), claim.encode(), "sha256").hex()
