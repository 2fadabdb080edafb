"""One tenant, a database of its own. The policies still name it: a connection that reaches the
wrong database sees nothing."""

from __future__ import annotations

from uuid import UUID

from regions import cells
from regions.current import deployment
from tenants.directory import TenantRecord
from tenants.isolation.base import Isolation, Progress
from tenants.isolation.owner import Connection
from tenants.models import Spare, Tenant


class Dedicated(Isolation):
    def prepare_tenant(self, tenant: TenantRecord, progress: Progress) -> None:
        progress(f"tables in {', '.join(self.spec.regions)}", 40)
        self.build(tenant.schema, tenant)

    def remove_tenant(self, tenant: TenantRecord, progress: Progress) -> None:
        progress("databases", 50)
        cells.drop_databases(deployment(), self.spec)

    def schemas(self, connection: Connection) -> list[tuple[str, UUID | None]]:
        tenants = Tenant.objects.filter(cell=self.spec.name).exclude(state=Tenant.State.ERASED)
        spares = Spare.objects.filter(cell=self.spec.name, state=Spare.State.READY)
        return [
            ("public", id_)
            for rows in (tenants, spares)
            for id_ in rows.values_list("id", flat=True)
        ]
