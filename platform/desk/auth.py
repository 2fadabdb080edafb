"""`Authorization: Bearer <api_token>`: a token of the tenant whose host was called."""

from __future__ import annotations

from django.http import HttpRequest
from ninja.security import HttpBearer

from tenants import tokens
from tenants.context import current_tenant


class TenantToken(HttpBearer):
    """Verified from the signature alone, without a query."""

    openapi_description = "An API token: `manage.py tenant token SLUG`"

    def authenticate(self, request: HttpRequest, token: str) -> str | None:
        tenant = current_tenant()
        return tenant.slug if tokens.verify(token, tenant) else None
