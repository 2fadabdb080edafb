"""What the tenant may use, and what it uses, in the region that answers."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja import Router, Schema

from tenants.context import current_tenant
from tenants.limits.own import own_document
from tenants.limits.store import local_store

router = Router(tags=["limits"])


class LimitsOut(Schema):
    """Null is unlimited."""

    requests_per_minute: int | None
    burst: int | None
    concurrent_requests: int | None
    connections: int | None
    statement_ms: int | None
    rows: int | None
    bytes: int | None
    tasks: int | None


class UsedOut(Schema):
    """Today, by UTC."""

    requests: int
    refused: int
    busy_ms: int
    connections: int


class HeldOut(Schema):
    """When it was last measured. `bytes` are those of rows; a quota counts those of files too."""

    rows: int
    bytes: int
    files: int


class QuotaOut(Schema):
    """`state`: ok, near (80 % are used) or over (nothing can be added)."""

    what: str
    used: int
    allowed: int
    state: str


class OwnLimitsOut(Schema):
    plan: str
    region: str
    limits: LimitsOut
    day: date
    used: UsedOut | None
    held: HeldOut | None
    quotas: list[QuotaOut]


@router.get("", response=OwnLimitsOut, summary="What you may use, and what you use")
def own_limits(request: HttpRequest) -> dict[str, Any]:
    return own_document(current_tenant(), settings.MERIDIAN_REGION or "", local_store())
