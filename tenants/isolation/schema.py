"""Many tenants in one database, a schema each. Its policies name the one tenant they admit, so a
statement that names another tenant's schema sees nothing in it."""

from __future__ import annotations

from uuid import UUID

from psycopg import sql

from tenants.directory import TenantRecord
from tenants.isolation.base import Isolation, Progress
from tenants.isolation.owner import Connection, owner
from tenants.models import Tenant


class Schema(Isolation):
    def prepare_tenant(self, tenant: TenantRecord, progress: Progress) -> None:
        for number, region in enumerate(self.spec.regions):
            progress(f"schema in {region}", 40 + 40 * number // len(self.spec.regions))
            with owner(self.spec, region) as connection:
                connection.execute(
                    sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(tenant.schema))
                )
            self.build(region, tenant.schema, tenant)

    def remove_tenant(self, tenant: TenantRecord, progress: Progress) -> None:
        for region in self.spec.regions:
            progress(f"schema in {region}", 50)
            with owner(self.spec, region) as connection:
                connection.execute(
                    sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(
                        sql.Identifier(tenant.schema)
                    )
                )

    def _schemas(self, connection: Connection) -> list[tuple[str, UUID | None]]:
        tenants = Tenant.objects.select_related("cell").filter(
            cell=self.spec.name, state__in=(Tenant.State.ACTIVE, Tenant.State.SUSPENDED)
        )
        return [(tenant.schema, tenant.id) for tenant in tenants]
