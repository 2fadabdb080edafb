"""An onboarding that may be asked for twice: the same key and the same wishes are one tenant.

The key belongs to the caller and may say anything, so only a digest of it is kept: the control
cell holds no personal data.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from tenants.errors import InvalidRequest, KeyReused
from tenants.models import Tenant

MAX_KEY = 255


@dataclass(frozen=True, slots=True)
class Request:
    """A tenant that somebody wants. `key` and `wishes` are digests: of the idempotency key (None:
    there is none), and of everything that is asked for."""

    slug: str
    plan: str
    key: str | None
    wishes: str

    @classmethod
    def of(cls, slug: str, plan: str, key: str | None, **wishes: Any) -> Request:
        """Raises InvalidRequest for a key that is empty or longer than MAX_KEY characters."""
        if key is not None and not 0 < len(key) <= MAX_KEY:
            raise InvalidRequest(f"An idempotency key has 1 to {MAX_KEY} characters.")
        text = json.dumps({"slug": slug, "plan": plan, **wishes}, sort_keys=True)
        return cls(slug, plan, _digest(key) if key is not None else None, _digest(text))

    def find(self, *, using: str) -> Tenant | None:
        """The tenant that was asked for with this key. Raises KeyReused if something else was."""
        if self.key is None:
            return None
        tenants = Tenant.objects.using(using).select_related("cell").prefetch_related("domains")
        tenant = tenants.filter(request_key=self.key).first()
        if tenant is None:
            return None
        if tenant.request != self.wishes:
            raise KeyReused(
                f"This idempotency key was used to onboard {tenant.slug!r} ({tenant.mode}, "
                f"{tenant.residency}) with other arguments: repeat those, or take a new key."
            )
        if tenant.state == Tenant.State.ERASED:
            raise KeyReused("The tenant of this idempotency key is erased: take a new key.")
        return tenant


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
