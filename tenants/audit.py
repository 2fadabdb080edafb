"""The audit trail: one row a verb, in the same transaction as what it tells of."""

from __future__ import annotations

from typing import Any

from regions.failover.turns import clock
from tenants.models import AuditEntry


def record(verb: str, subject: str, *, actor: str, using: str, **detail: Any) -> None:
    """`subject` is a tenant's or cell's name; `detail` holds no personal data."""
    AuditEntry.objects.using(using).create(actor=actor, verb=verb, subject=subject, detail=detail)


def last(verb: str, subject: str, *, using: str) -> str:
    """Who did that last, and when: how a sentence begins."""
    entry = AuditEntry.objects.using(using).filter(verb=verb, subject=subject).first()
    return f"{entry.actor} ({clock(entry.at)})" if entry else "Somebody else"
