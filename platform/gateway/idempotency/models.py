"""The table of idempotency keys: a tenant's own, like that of any of its apps."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class Answer(models.Model):
    """What a write with an idempotency key was answered. No status: its answer was not kept."""

    key = models.CharField(max_length=64, primary_key=True, help_text="The key's digest.")
    request = models.CharField(
        max_length=64, help_text="A digest of what was asked, and with which credentials."
    )
    status = models.PositiveSmallIntegerField(null=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField(default=bytes)
    asked_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        default_permissions = ()
