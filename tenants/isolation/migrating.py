"""Brings one schema of one replica to the newest migrations, as the tables' owner.

Guarantees that the ids of content types and permissions follow from their names.
"""

from __future__ import annotations

from django.apps import apps
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.models.signals import post_migrate

from regions.deployment import OWNER_ROLE
from regions.replication import reference_ids
from regions.topology import CellSpec
from tenants.context import tenant_scope
from tenants.databases import pinned_to, register_cell
from tenants.directory import TenantRecord
from tenants.isolation.owner import Connection
from tenants.isolation.recording import Recording
from tenants.labels import tenant_labels


def migrate(
    connection: Connection,
    spec: CellSpec,
    region: str,
    recording: Recording,
    *,
    schema: str,
    tenant: TenantRecord,
) -> None:
    """`tenant` is the schema's owner; the cell's seed where tenants share tables. What Django does
    is added to `recording`."""
    alias = register_cell(spec, region, OWNER_ROLE)
    with tenant_scope(tenant), pinned_to(alias):
        try:
            with recording.of_django(connections[alias]):
                _run(alias)
            reference_ids.install(connection, schema)
            with recording.of_django(connections[alias]):
                announce(alias)
        finally:
            connections[alias].close()


def is_fresh(connection: Connection, schema: str) -> bool:
    """Whether nothing has been migrated there yet."""
    found = connection.execute(
        "SELECT NOT EXISTS (SELECT FROM pg_tables WHERE schemaname = %s"
        " AND tablename = 'django_migrations')",
        (schema,),
    ).fetchone()
    return bool(found and found[0])


def _run(alias: str) -> None:
    executor = MigrationExecutor(connections[alias])
    targets = [node for node in executor.loader.graph.leaf_nodes() if node[0] in tenant_labels()]
    executor.migrate(targets)


def announce(alias: str) -> None:
    """What handlers of `post_migrate` do: Django's own make content types and permissions."""
    for config in apps.get_app_configs():
        if config.label in tenant_labels() and config.models_module is not None:
            post_migrate.send(
                sender=config,
                app_config=config,
                verbosity=0,
                interactive=False,
                using=alias,
                apps=apps,
                plan=[],
            )
