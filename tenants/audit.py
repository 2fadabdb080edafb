"""The audit trail: one row a verb, in the same transaction as what it tells of."""

from __future__ import annotations

from typing import Any

from tenants.models import AuditEntry


def record(verb: str, subject: str, *, actor: str, using: str, **detail: Any) -> None:
    """`subject` is a tenant's or cell's name; `detail` holds no personal data."""
    AuditEntry.objects.using(using).create(actor=actor, verb=verb, subject=subject, detail=detail)
