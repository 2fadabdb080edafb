"""The registry of places: regions, cells and replicas. Lives in the control cell, so it holds
no personal data and reaches every region."""

from typing import Any

from django.db import models

from regions.topology import TenancyMode, WritePolicy, database_name


class Region(models.Model):
    """A place where the whole stack runs."""

    class State(models.TextChoices):
        ACTIVE = "active"
        DRAINED = "drained"

    name = models.SlugField(primary_key=True, max_length=40)
    country = models.CharField(max_length=10, help_text="ISO 3166-1 alpha-2")
    jurisdiction = models.CharField(max_length=10)
    node = models.PositiveSmallIntegerField(unique=True)
    state = models.CharField(max_length=10, choices=State, default=State.ACTIVE)

    class Meta:
        ordering = ["node"]

    def __str__(self) -> str:
        return self.name


class Cell(models.Model):
    """A logical database with a fixed tenancy mode, a set of regions and one write policy."""

    class Mode(models.TextChoices):
        SHARED = TenancyMode.SHARED.value
        SCHEMA = TenancyMode.SCHEMA.value
        DEDICATED = TenancyMode.DEDICATED.value
        CONTROL = TenancyMode.CONTROL.value

    class Policy(models.TextChoices):
        ACTIVE_PASSIVE = WritePolicy.ACTIVE_PASSIVE.value
        ACTIVE_ACTIVE = WritePolicy.ACTIVE_ACTIVE.value
        FOLLOW_THE_SUN = WritePolicy.FOLLOW_THE_SUN.value

    class State(models.TextChoices):
        PROVISIONING = "provisioning"
        SPARE = "spare"  # made, replicated and written; waits for the tenant that takes it
        READY = "ready"

    name = models.SlugField(primary_key=True, max_length=50)
    mode = models.CharField(max_length=10, choices=Mode)
    policy = models.CharField(max_length=20, choices=Policy)
    timetable = models.TextField(
        blank=True, default="", help_text="Who writes when, if it follows the sun."
    )
    state = models.CharField(max_length=20, choices=State, default=State.PROVISIONING)
    has_seed = models.BooleanField(default=False, help_text="Its tenants start with rows.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def database(self) -> str:
        return database_name(self.name)

    @property
    def region_names(self) -> list[str]:
        """Its regions, the preferred writer first."""
        return [replica.region_id for replica in self.replicas.all()]


class Replica(models.Model):
    """One cell's database in one region."""

    id = models.CharField(primary_key=True, max_length=100, editable=False)
    cell = models.ForeignKey(Cell, models.CASCADE, related_name="replicas")
    region = models.ForeignKey(Region, models.PROTECT, related_name="replicas")
    priority = models.PositiveSmallIntegerField(
        default=0, help_text="Lower is preferred as writer; 0 is the cell's home."
    )

    class Meta:
        ordering = ["priority", "region"]
        constraints = [
            models.UniqueConstraint(fields=["cell", "region"], name="one_replica_a_region")
        ]

    def __str__(self) -> str:
        return f"{self.cell_id} in {self.region_id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.id = f"{self.cell_id}@{self.region_id}"
        super().save(*args, **kwargs)
