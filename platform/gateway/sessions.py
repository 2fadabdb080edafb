"""Sessions that outlive a region: signed cookies, each bound to one tenant (or to the console).

Nothing is stored on a server, so losing a region logs nobody out and no session has to be
replicated. A cookie of one tenant does not verify on another tenant's host. A change of
password ends the account's sessions; the content is signed, not secret.
"""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends import signed_cookies
from django.core import signing

from tenants.context import current_tenant_or_none


def _salt() -> str:
    tenant = current_tenant_or_none()
    return f"meridian.session:{tenant.id if tenant else 'console'}"


class SessionStore(signed_cookies.SessionStore):
    """Django's signed-cookie session with the tenant in the signature's salt."""

    def load(self) -> dict[str, Any]:
        try:
            content: dict[str, Any] = signing.loads(
                self.session_key or "",
                serializer=self.serializer,
                max_age=self.get_session_cookie_age(),
                salt=_salt(),
            )
        except (signing.BadSignature, ValueError):
            self.create()
            return {}
        return content

    def _get_session_key(self) -> str:
        content: dict[str, Any] = self._session  # type: ignore[attr-defined]
        return signing.dumps(content, compress=True, salt=_salt(), serializer=self.serializer)
