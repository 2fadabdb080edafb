"""What Django signs for one tenant verifies for that tenant only.

Guarantees that a value of `django.core.signing` or a password reset token that was made in a
tenant's scope is worthless under another tenant and outside of every scope, and the other way
round. It is as good as a key for each tenant: the tenant's id goes into the key of the HMAC.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core.signing import Signer

from tenants.binding.rules import in_scope


def key_in_scope(key: str | bytes) -> str | bytes:
    """The key as it is outside of every scope; inside, the tenant's own."""
    tenant = in_scope()
    if tenant is None:
        return key
    suffix = f":tenant:{tenant}"
    return key + suffix.encode() if isinstance(key, bytes) else key + suffix


def install() -> None:
    signature: Any = Signer.signature
    if hasattr(signature, "__wrapped__"):
        return

    @wraps(signature)
    def bound(self: Signer, value: str | bytes, key: str | bytes | None = None) -> str:
        made: str = signature(self, value, key_in_scope(key or self.key))
        return made

    Signer.signature = bound  # type: ignore[method-assign]
    tokens: Any = PasswordResetTokenGenerator
    tokens.secret = property(_secret, tokens._set_secret)
    tokens.secret_fallbacks = property(_fallbacks, tokens._set_fallbacks)


def _secret(generator: Any) -> str | bytes:
    return key_in_scope(generator._secret or settings.SECRET_KEY)


def _fallbacks(generator: Any) -> list[str | bytes]:
    return [key_in_scope(key) for key in generator._get_fallbacks()]
