"""Many tenants in one database, a schema each. Its policies name the one tenant they admit, so a
statement that names another tenant's schema sees nothing in it."""

from __future__ import annotations

from uuid import UUID

from psycopg import sql

from regions import cells
from regions.current import deployment
from regions.replication import capture, erasures
from tenants.directory import TenantRecord
from tenants.isolation.base import Isolation, Progress
from tenants.isolation.owner import Connection, owner
from tenants.models import Spare, Tenant


class Schema(Isolation):
    def prepare_tenant(self, tenant: TenantRecord, progress: Progress) -> None:
        progress(f"schema in {', '.join(self.spec.regions)}", 40)
        self.build(tenant.schema, tenant)

    def remove_tenant(self, tenant: TenantRecord, progress: Progress) -> None:
        for region in self.spec.regions:
            progress(f"schema in {region}", 50)
            with owner(self.spec, region) as connection:
                connection.execute(
                    sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(
                        sql.Identifier(tenant.schema)
                    )
                )
                capture.detach_schema(connection, tenant.schema)
        progress("change logs", 70)
        self.remove_all(lambda region: self._forget(region, tenant))

    def _forget(self, region: str, tenant: TenantRecord) -> int:
        with cells.administrator(deployment(), region, self.spec.database) as administrator:
            return erasures.forget(administrator, tenant.id)

    def schemas(self, connection: Connection) -> list[tuple[str, UUID | None]]:
        tenants = Tenant.objects.select_related("cell").filter(
            cell=self.spec.name, state__in=(Tenant.State.ACTIVE, Tenant.State.SUSPENDED)
        )
        spares = Spare.objects.filter(cell=self.spec.name, state=Spare.State.READY)
        owned = [(tenant.schema, tenant.id) for tenant in tenants]
        return [*owned, *((spare.schema, spare.id) for spare in spares)]
