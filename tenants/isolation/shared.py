"""Many tenants in the same tables: a hidden `tenant_id`, row-level security, composite keys.

A new tenant needs no change of structure at all.
"""

from __future__ import annotations

from uuid import UUID

from psycopg import sql

from regions import cells
from regions.current import deployment
from regions.replication import erasures
from tenants.directory import TenantRecord
from tenants.isolation import seed
from tenants.isolation.base import Isolation, Progress
from tenants.isolation.catalog import read_tables
from tenants.isolation.owner import Connection
from tenants.isolation.rewrite import TENANT_COLUMN


class Shared(Isolation):
    def prepare_cell(self, progress: Progress) -> None:
        super().prepare_cell(progress)
        progress(f"tables in {', '.join(self.spec.regions)}", 40)
        self.build("public", None)

    def prepare_tenant(self, tenant: TenantRecord, progress: Progress) -> None:
        """Nothing: the tables are there, and the policies know every tenant."""

    def has_seed(self, region: str) -> bool:
        with cells.administrator(deployment(), region, self.spec.database) as administrator:
            return seed.has_rows(administrator)

    def remove_tenant(self, tenant: TenantRecord, progress: Progress) -> None:
        """Delete in each replica by itself: an erasure must not wait in a change log."""
        progress("rows", 50)
        self.remove_all(lambda region: self._delete_rows(region, tenant))

    def _delete_rows(self, region: str, tenant: TenantRecord) -> int:
        with cells.administrator(deployment(), region, self.spec.database) as administrator:
            tables = read_tables(administrator, "public")
            with administrator.transaction():
                # Neither captured nor checked: all rows of the tenant go at once.
                administrator.execute("SET LOCAL session_replication_role = replica")
                deleted = sum(
                    administrator.execute(
                        sql.SQL("DELETE FROM public.{} WHERE {} = %s").format(
                            sql.Identifier(table.name), sql.Identifier(TENANT_COLUMN)
                        ),
                        (tenant.id,),
                    ).rowcount
                    for table in tables
                )
                return deleted + erasures.forget(administrator, tenant.id)

    def schemas(self, connection: Connection) -> list[tuple[str, UUID | None]]:
        return [("public", None)]
