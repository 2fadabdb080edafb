"""The registry of customers. Lives in the control cell and reaches every region: opaque ids,
slugs, hosts and placement only, never a name, an e-mail address or a bill."""

import secrets
import uuid
from datetime import date

from django.core.validators import RegexValidator
from django.db import models

from regions.models import Cell


def new_id() -> uuid.UUID:
    return uuid.uuid4()


def new_schema() -> str:
    """Says nothing of a customer: every role of a cluster can list the names of schemas."""
    return f"t_{secrets.token_hex(6)}"


class Plan(models.Model):
    """Limits under a name, for tenants that are sold the same. No price: bills are elsewhere."""

    DEFAULT = "unlimited"

    name = models.SlugField(primary_key=True, max_length=40)
    limits = models.JSONField(
        default=dict, blank=True, help_text="By name; what is not named is unlimited."
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Tenant(models.Model):
    """A customer. Lives in exactly one cell; its host names route to it."""

    class State(models.TextChoices):
        PROVISIONING = "provisioning"
        ACTIVE = "active"
        SUSPENDED = "suspended"
        MOVING = "moving"
        FAILED = "failed"
        ERASED = "erased"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    slug = models.CharField(
        max_length=40,
        unique=True,
        validators=[
            RegexValidator(
                r"^[a-z](-?[a-z0-9])*$",
                "A slug is lower-case letters, digits and single hyphens, starting with a letter.",
            )
        ],
    )
    cell = models.ForeignKey(Cell, models.PROTECT, related_name="tenants")
    own_schema = models.CharField(
        max_length=63,
        unique=True,
        default=new_schema,
        editable=False,
        help_text="Holds its tables while it lives in a cell of mode schema.",
    )
    residency = models.CharField(max_length=40, help_text="A policy such as EU, DE or EU:ADEQUATE")
    state = models.CharField(max_length=20, choices=State, default=State.PROVISIONING)
    token_generation = models.PositiveIntegerField(
        default=1, help_text="Raising it revokes every API token issued before."
    )
    plan = models.ForeignKey(Plan, models.PROTECT, related_name="tenants", default=Plan.DEFAULT)
    limits = models.JSONField(
        default=dict, blank=True, help_text="What differs from the plan; null lifts its limit."
    )
    request_key = models.CharField(
        max_length=64,
        unique=True,
        null=True,
        editable=False,
        help_text="A digest of the idempotency key that it was onboarded with.",
    )
    request = models.CharField(
        max_length=64,
        blank=True,
        editable=False,
        help_text="A digest of what was asked for with that key.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug

    @property
    def mode(self) -> str:
        return self.cell.mode

    @property
    def schema(self) -> str:
        """Where its tables are: a schema of its own in schema cells, `public` elsewhere."""
        return self.own_schema if self.cell.mode == Cell.Mode.SCHEMA else "public"


class Domain(models.Model):
    """A host name that routes to a tenant."""

    host = models.CharField(primary_key=True, max_length=253)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="domains")
    primary = models.BooleanField(default=True)

    class Meta:
        ordering = ["-primary", "host"]

    def __str__(self) -> str:
        return self.host


class Usage(models.Model):
    """What a tenant used in one region on one day (UTC). Numbers only."""

    id = models.CharField(primary_key=True, max_length=100, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="usage")
    region = models.CharField(max_length=40)
    day = models.DateField()
    requests = models.BigIntegerField(default=0)
    refused = models.BigIntegerField(default=0, help_text="Requests that a limit kept out")
    busy_ms = models.BigIntegerField(default=0, help_text="Time spent on answering")
    connections = models.IntegerField(
        default=0, help_text="The most that were held at once, where they are limited"
    )
    rows = models.BigIntegerField(null=True)
    bytes = models.BigIntegerField(null=True)
    files = models.BigIntegerField(null=True, help_text="Bytes of files, of the home region")
    at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-day", "region"]

    def __str__(self) -> str:
        return self.id

    @staticmethod
    def key(tenant: uuid.UUID, region: str, day: date) -> str:
        """The same row in every region, so that counting twice is no conflict."""
        return f"{tenant}@{region}@{day}"


class Spare(models.Model):
    """A place that is ready for a tenant who is yet to come: a schema, or a dedicated cell.

    `id` is the id that the tenant will have: policies and triggers name it. Whoever takes the
    place deletes this row in the transaction that makes the tenant.
    """

    class State(models.TextChoices):
        MAKING = "making"
        READY = "ready"
        BROKEN = "broken"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    pool = models.CharField(max_length=200, db_index=True)
    cell = models.ForeignKey(Cell, models.PROTECT, related_name="spares")
    schema = models.CharField(max_length=63, default=new_schema)
    fingerprint = models.CharField(max_length=64, help_text="Of the blueprint it was made from.")
    epoch = models.BigIntegerField(help_text="The control cell's, in which it may be taken.")
    doubted_at = models.DateTimeField(
        null=True, help_text="Since when it is unknown whether an earlier writer gave it away."
    )
    state = models.CharField(max_length=10, choices=State, default=State.MAKING)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["created_at"]

    def __str__(self) -> str:
        return f"{self.pool}: {self.state}"


class Move(models.Model):
    """A move that has begun and not ended. The tenant's own cell tells whether it was decided:
    until then what is in `target` is a copy, from then on what is in `source` is left over."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="moves")
    source = models.CharField(max_length=50)
    target = models.CharField(max_length=50)
    target_made = models.BooleanField(help_text="Whether the target was made for this move.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["created_at"]

    def __str__(self) -> str:
        return f"{self.tenant_id}: {self.source} → {self.target}"


class Operation(models.Model):
    """Work on a tenant that takes a while; the console and `--json` show its progress."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    verb = models.CharField(max_length=20)
    slug = models.CharField(max_length=40)
    arguments = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    step = models.CharField(max_length=200, blank=True)
    percent = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True)
    actor = models.CharField(max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.verb} {self.slug}: {self.state}"


class DrillSchedule(models.Model):
    """A drill that runs by itself, on each of its cells in turn. `seen`: the last moment that was
    dealt with; `outcomes`: what came of the last one, by cell."""

    name = models.SlugField(primary_key=True, max_length=40)
    scenario = models.CharField(max_length=40)
    cells = models.JSONField()
    timetable = models.CharField(max_length=100, help_text="Like a crontab's: five fields, in UTC.")
    rto = models.FloatField(null=True, help_text="Objective, in seconds.")
    rpo = models.PositiveIntegerField(null=True, help_text="Objective, in writes.")
    actor = models.CharField(max_length=100)
    seen = models.DateTimeField()
    outcomes = models.JSONField(default=dict)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return f"{self.name}: {self.scenario} at {self.timetable}"


class AuditEntry(models.Model):
    """Who did what to which tenant, cell or region; written in the same transaction."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    at = models.DateTimeField(auto_now_add=True)
    actor = models.CharField(max_length=100)
    verb = models.CharField(max_length=40)
    subject = models.CharField(max_length=100)
    detail = models.JSONField(default=dict)

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.actor} {self.verb} {self.subject}"


class Blueprint(models.Model):
    """The SQL that makes a fresh tenant's tables, recorded when the first of its kind was made.

    Executed as the owner of cell databases, so it is signed: a row that somebody wrote by hand
    is not run.
    """

    name = models.CharField(primary_key=True, max_length=80, help_text="mode:fingerprint")
    script = models.TextField()
    schema = models.CharField(max_length=63, help_text="The schema that it was recorded in.")
    tenant = models.UUIDField(null=True, help_text="The tenant that it was recorded for.")
    signature = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


# Django looks for an app's models here.
from tenants.rollout.models import Rollout, RolloutUnit  # noqa: E402, F401
