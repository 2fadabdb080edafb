"""Links to files: signed for one tenant, one name and some time.

Guarantees that a link of one tenant opens nothing on another tenant's host, and that the links of
a file stay the same for a while, so that browsers can keep what they have fetched.
"""

from __future__ import annotations

import hmac
import time
from urllib.parse import quote, urlencode
from uuid import UUID

from django.conf import settings

from regions.current import deployment
from tenants.directory import TenantRecord


def link(tenant: TenantRecord, name: str) -> str:
    """A path on the tenant's host that works for between one and two MERIDIAN_FILE_LINK_SECONDS."""
    lifetime = settings.MERIDIAN_FILE_LINK_SECONDS
    expiry = (int(time.time()) // lifetime + 2) * lifetime
    query = urlencode({"e": expiry, "s": _sign(tenant.id, name, expiry)})
    return f"{settings.MEDIA_URL}{quote(name)}?{query}"


def opens(tenant: TenantRecord, name: str, expiry: str, signature: str) -> bool:
    """Whether a link that came with a request is the tenant's, and still good."""
    if not expiry.isdecimal() or len(expiry) > 12 or int(expiry) < time.time():
        return False
    expected = _sign(tenant.id, name, int(expiry))
    return hmac.compare_digest(expected.encode(), signature.encode())


def _sign(tenant: UUID, name: str, expiry: int) -> str:
    claim = f"{tenant.hex}\0{expiry}\0{name}".encode()
    return hmac.digest(deployment().secrets.derive("file"), claim, "sha256").hex()
