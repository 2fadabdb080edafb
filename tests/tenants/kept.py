"""A leased cell in two regions, without agents: the test says who holds its lease."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from desk.models import Tag
from regions import cells
from regions.deployment import Deployment
from regions.topology import CellSpec
from tenants.celery.take_over import tell
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.seams import cell_spec
from testkit.control import publish_maps
from tests.tenants.workers import until

OPEN = "UPDATE fabric.gate SET epoch = %s, valid_until = now() + interval '1 hour'"
SHUT = "UPDATE fabric.gate SET valid_until = '-infinity'"


@dataclass
class Leased:
    """`grant(region)` is a failover: the others' gates are shut, as at the end of a lease."""

    deployment: Deployment
    tenant: TenantRecord
    epoch: int = 0
    holders: list[str] = field(default_factory=list)

    @property
    def spec(self) -> CellSpec:
        return cell_spec(self.tenant.cell)

    def grant(self, region: str) -> None:
        self.epoch += 1
        for other in self.spec.regions:
            if other != region:
                self.ask(other, SHUT)
        self.ask(region, OPEN, self.epoch)
        publish_maps(self.deployment, {self.tenant.cell: region})

    def tell(self, region: str) -> int:
        """As the region's beat does."""
        return tell(self.spec, region)

    def ask(self, region: str, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        with cells.administrator(self.deployment, region, self.spec.database) as admin:
            cursor = admin.execute(query, arguments)
            return cursor.fetchall() if cursor.description else []

    def tasks(self, region: str) -> list[str]:
        """What is to be done, as the region's replica knows it."""
        rows = self.ask(region, "SELECT name FROM fabric.task ORDER BY sent_at")
        return [name.rpartition(".")[2] for (name,) in rows]

    def arrived(self, number: int, region: str) -> None:
        until(lambda: len(self.tasks(region)) == number)

    def tags(self, region: str) -> list[str]:
        """In the order of their names, without what `tally` makes them unique by."""
        rows = self.ask(region, "SELECT name FROM desk_tag ORDER BY name")
        return [name.rpartition(" ")[0] for (name,) in rows]

    def clear(self) -> None:
        with tenant_scope(self.tenant):
            Tag.objects.all().delete()
