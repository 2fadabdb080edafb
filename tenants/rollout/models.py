"""What is remembered of each run of `cell migrate`; in the control cell, so nobody's values."""

from __future__ import annotations

import uuid

from django.db import models


class Rollout(models.Model):
    """One run of `cell migrate`, from its plan to its report."""

    class State(models.TextChoices):
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        HALTED = "halted"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    state = models.CharField(max_length=10, choices=State, default=State.RUNNING)
    target = models.CharField(max_length=64, help_text="Fingerprint of the code's migrations.")
    options = models.JSONField(default=dict)
    reason = models.CharField(max_length=200, blank=True)
    actor = models.CharField(max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "migration"

    def __str__(self) -> str:
        return f"{self.created_at:%Y-%m-%d %H:%M}: {self.state}"


class RolloutUnit(models.Model):
    """How far a run has come with one tenant, or with the tables that a cell's tenants share."""

    class State(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed", "Failed: in quarantine"
        BLOCKED = "blocked", "Blocked: tried again by the next run"
        SKIPPED = "skipped", "Skipped: it was moving"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    rollout = models.ForeignKey(Rollout, models.CASCADE, related_name="units")
    cell = models.CharField(max_length=50)
    tenant = models.UUIDField(null=True, help_text="Empty where tenants share tables.")
    slug = models.CharField(max_length=50)
    migrations = models.JSONField(default=list)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    attempt = models.PositiveSmallIntegerField(default=0)
    duration_ms = models.PositiveIntegerField(null=True)
    error = models.CharField(max_length=300, blank=True, help_text="Its kind, never its words.")
    pending = models.JSONField(default=list, help_text="Regions that were left for later.")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["cell", "slug"]
        indexes = [models.Index(fields=["cell", "tenant"], name="tenants_rollout_whose")]

    def __str__(self) -> str:
        return f"{self.slug}: {self.state}"
