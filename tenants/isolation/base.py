"""What a tenancy mode must be able to do, and the steps that the modes share.

Every step is idempotent and runs in each replica: structure is not replicated. A run that broke
is simply repeated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import cast
from uuid import UUID

from django.conf import settings
from django.db import connections
from psycopg import sql
from psycopg.errors import DuplicateTable

from regions import cells
from regions.current import deployment
from regions.replication import capture, settle
from regions.topology import CellSpec
from tenants.directory import TenantRecord
from tenants.isolation import (
    blueprint,
    counters,
    extensions,
    hardening,
    kept_tasks,
    ledger,
    quota,
    seed,
    tenancy,
)
from tenants.isolation.catalog import REFERENCE_TABLES, read_open_counters, read_tables
from tenants.isolation.migrating import is_fresh, migrate
from tenants.isolation.owner import Connection, lent_owner, owner, run_all
from tenants.isolation.policies import (
    open_schema,
    restrict_reference_tables,
    restrict_sequences,
    secure_tables,
)
from tenants.isolation.recording import RecordedConnection, Recording, Script, play
from tenants.isolation.rewrite import share_tables
from tenants.isolation.shortest import shortest

Progress = Callable[[str, int], None]

# The fabric keeps copies of rows: what was written, deleted, parked, or lost a conflict.

# Longer, and a link is cut: whoever waits repeats it once that is mended.
RECEIVED_SECONDS = 60.0


class Isolation(ABC):
    """How one cell keeps its tenants apart."""

    def __init__(self, spec: CellSpec) -> None:
        self.spec = spec

    def prepare_cell(self, progress: Progress) -> None:
        """In databases that exist: whatever is there before the first tenant."""
        for region in self.spec.regions:
            progress(f"isolation in {region}", 30)
            key = deployment().context_key(self.spec.name)
            with owner(self.spec, region) as connection:
                tenancy.install(connection, key)
                quota.install(connection)
                ledger.install(connection)
                kept_tasks.install(connection)
            with cells.administrator(deployment(), region, self.spec.database) as administrator:
                extensions.install(administrator, settings.MERIDIAN_EXTENSIONS)
                hardening.harden(administrator)

    def secure(self, progress: Progress) -> None:
        """What keeps tenants apart and what captures their changes, put in force again in a cell
        that has tenants, whichever version made it."""
        progress(f"databases in {', '.join(self.spec.regions)}", 10)
        cells.create_databases(deployment(), self.spec)
        Isolation.prepare_cell(self, progress)
        for number, region in enumerate(self.spec.regions):
            progress(f"tables in {region}", 40 + 50 * number // len(self.spec.regions))
            with owner(self.spec, region) as connection:
                for schema, tenant in self.schemas(connection):
                    protect(connection, schema, tenant)

    @abstractmethod
    def prepare_tenant(self, tenant: TenantRecord, progress: Progress) -> None:
        """Everything that a tenant needs in its cell, in each replica."""

    def has_seed(self, region: str) -> bool:
        """Whether a new tenant must be given rows, because its tables were made before it came."""
        return False

    @abstractmethod
    def remove_tenant(self, tenant: TenantRecord, progress: Progress) -> None:
        """Everything of the tenant, in each replica."""

    def lacking(self) -> list[str]:
        """What keeps a table from being isolated, one sentence each; [] when all is well."""
        found = []
        for region in self.spec.regions:
            with owner(self.spec, region) as connection:
                for schema, tenant in self.schemas(connection):
                    found += [f"{region}: {text}" for text in missing(connection, schema, tenant)]
                    found += [
                        f"{region}: {schema}.{name} has no check of quotas"
                        for name in quota.unguarded(connection, schema)
                    ]
        return found

    @abstractmethod
    def schemas(self, connection: Connection) -> list[tuple[str, UUID | None]]:
        """The schemas with tenant tables, and whose they are (None: all tenants')."""

    def remove_all(self, remove: Callable[[str], int]) -> None:
        """Call `remove` with each region, and again until it finds nothing (0) after all that was
        under way between replicas has arrived. Raises NotSettled; safe to repeat."""
        for region in self.spec.regions:
            remove(region)
        self._wait_received()
        while sum(remove(region) for region in self.spec.regions):
            self._wait_received()

    def _wait_received(self) -> None:
        for region in self.spec.regions:
            with cells.administrator(deployment(), region, self.spec.database) as administrator:
                settle.wait_received(administrator, self.spec, region, seconds=RECEIVED_SECONDS)

    def ensure_quotas(self, region: str) -> None:
        """A replica that was made before there were quotas gets their check."""
        with owner(self.spec, region) as connection:
            for schema, tenant in self.schemas(connection):
                quota.guard(connection, schema, shared=tenant is None)

    def build(self, schema: str, tenant: TenantRecord | None) -> None:
        """Tables, isolation, capture: in every replica, at once where it has been done before."""
        script = blueprint.find(self.spec.mode)
        regions = self.spec.regions
        if script is None:
            script = self._build_step_by_step(regions[0], schema, tenant)
            regions = regions[1:]
        if len(regions) == 1:
            self._build_in(regions[0], script, schema, tenant)
        elif regions:

            def build_in(region: str) -> None:
                try:
                    self._build_in(region, script, schema, tenant)
                finally:
                    connections.close_all()  # this thread's

            with ThreadPoolExecutor(len(regions)) as pool:
                list(pool.map(build_in, regions))

    def _build_in(
        self, region: str, script: Script | None, schema: str, tenant: TenantRecord | None
    ) -> None:
        if script is not None:
            text = script.for_tenant(schema, tenant.id if tenant else None)
            with suppress(DuplicateTable), lent_owner(self.spec, region) as connection:
                play(connection, schema, text)
                return
        # Something is there already.
        self._build_step_by_step(region, schema, tenant)

    def _build_step_by_step(
        self, region: str, schema: str, tenant: TenantRecord | None
    ) -> Script | None:
        """In one replica. What ran is the blueprint, if nothing had been there before."""
        recording = Recording()
        owned_by = tenant.id if tenant else None
        with owner(self.spec, region, kind=RecordedConnection) as connection:
            fresh = is_fresh(connection, schema)
            cast(RecordedConnection, connection).recording = recording
            if schema != "public":
                name = sql.Identifier(schema)
                connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
            whose = tenant or seed.record(self.spec)
            migrate(connection, self.spec, region, recording, schema=schema, tenant=whose)
            counters.leave_behind(connection, schema)
            protect(connection, schema, owned_by)
        if not fresh:
            return None
        script = shortest(self.spec, region, Script(recording.text, schema, owned_by))
        blueprint.keep(self.spec.mode, script)
        return script


def protect(connection: Connection, schema: str, tenant: UUID | None) -> None:
    """Isolation, then capture, for whatever tables of the schema lack them."""
    secure(connection, schema, tenant)
    capture.attach(
        connection,
        schema,
        tenant_column=None if tenant else "tenant_id",
        tenant=tenant,
        local_tables=settings.MERIDIAN_LOCAL_TABLES,
    )


def secure(connection: Connection, schema: str, tenant: UUID | None) -> None:
    """Put each table of the schema that lacks something under isolation."""
    present = read_tables(connection, schema, without=())
    tables = [table for table in present if table.name not in REFERENCE_TABLES]
    statements = share_tables(tables) if tenant is None else []
    statements += secure_tables(tables, tenant)
    statements += restrict_reference_tables(
        schema, REFERENCE_TABLES & {table.name for table in present}
    )
    statements += restrict_sequences(schema, read_open_counters(connection, schema))
    run_all(connection, [*open_schema(schema), *statements])
    quota.guard(connection, schema, shared=tenant is None)


def missing(connection: Connection, schema: str, tenant: UUID | None) -> list[str]:
    """The statements that isolation still lacks there: [] when every table is isolated."""
    tables = read_tables(connection, schema)
    statements = share_tables(tables) if tenant is None else []
    return statements + secure_tables(tables, tenant)
