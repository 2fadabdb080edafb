"""What is migrated by itself: one schema in every replica of its cell.

In shared cells that is the whole cell, elsewhere a tenant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

from regions.topology import CellSpec, TenancyMode
from tenants.directory import TenantRecord
from tenants.rollout.graph import Progress
from tenants.rollout.lint import Concern, Level
from tenants.rollout.standing import Standing
from tenants.rollout.steps import Part


def key_of(cell: str, tenant: UUID | None) -> str:
    return f"{cell}/{tenant or '*'}"


@dataclass(frozen=True)
class Unit:
    """`tenant` is None where tenants share tables; then `sharers` are those of the cell."""

    spec: CellSpec
    tenant: TenantRecord | None
    sharers: tuple[TenantRecord, ...] = ()

    @property
    def schema(self) -> str:
        return self.tenant.schema if self.tenant else "public"

    @property
    def name(self) -> str:
        """As people are told of it."""
        return self.tenant.slug if self.tenant else self.spec.name

    @cached_property
    def key(self) -> str:
        return key_of(self.spec.name, self.tenant_id)

    @property
    def tenant_id(self) -> UUID | None:
        return self.tenant.id if self.tenant else None

    @property
    def slugs(self) -> list[str]:
        """The tenants that nobody may move meanwhile."""
        return [self.tenant.slug] if self.tenant else [each.slug for each in self.sharers]

    @property
    def shared(self) -> bool:
        return self.spec.mode is TenancyMode.SHARED


@dataclass(frozen=True, slots=True)
class Route:
    """From one starting point to this code. Shared by all units that stand there; `key` says so."""

    key: tuple[TenancyMode, Progress, str, str]
    parts: tuple[Part, ...]
    concerns: tuple[Concern, ...]

    def starts_like(self, other: Route) -> bool:
        """Whether both lead the same way, whatever was changed by hand."""
        return (*self.key[:2], self.key[3]) == (*other.key[:2], other.key[3])

    @property
    def contract_parts(self) -> frozenset[int]:
        return frozenset(each.part for each in self.concerns if each.level is Level.CONTRACT)

    @property
    def migrations(self) -> list[str]:
        names = [f"{m.app_label}.{m.name}" for part in self.parts for m in part.completes]
        return list(dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class Work:
    """One unit with what is to be done. `behind` are replicas that lack what others have, each
    with the way to catch up; `trouble` says why it can't be done at all."""

    unit: Unit
    route: Route
    standings: Mapping[str, Standing]
    behind: Mapping[str, Route] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    trouble: str | None = None

    @property
    def needed(self) -> bool:
        return bool(self.route.parts or self.behind or self.trouble or self.unlike)

    @property
    def unlike(self) -> list[str]:
        """Tables that somebody changed by hand, or whose merge rules are others now."""
        return sorted({name for each in self.standings.values() for name in each.unlike})
