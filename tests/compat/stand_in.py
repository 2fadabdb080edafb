"""What Django's test framework does as a database's owner, done for one tenant's rows.

A test framework makes a database and empties it with TRUNCATE. A tenant's code may do neither: so
the tenant's cell stands in for the database, and the administrator empties it of this tenant.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django.test.utils
import psycopg
from django.apps import apps
from django.conf import settings
from django.contrib.contenttypes.management import create_contenttypes
from django.core.management.commands import flush
from django.db import connection, connections
from django.db.models.signals import post_migrate
from django.test import testcases
from django.utils.connection import ConnectionProxy
from psycopg import sql

from regions.deployment import ADMIN_ROLE
from tenants import router
from tenants.backend.operations import DatabaseOperations
from tenants.context import current_tenant
from tenants.databases import cell_alias
from tenants.isolation.catalog import REFERENCE_TABLES
from tenants.router import tenant_labels

_SEQUENCES = """
SELECT format('%%I.%%I', schemaname, sequencename), start_value FROM pg_sequences
 WHERE schemaname = %s AND last_value IS NOT NULL
"""


def stand_in_for_test_databases() -> None:
    """Nothing is made and nothing dropped; `flush` empties the tenant."""
    django.test.utils.setup_databases = lambda *args, **options: []
    django.test.utils.teardown_databases = lambda *args, **options: None
    DatabaseOperations.sql_flush = lambda self, style, tables, **options: [tables, options]
    DatabaseOperations.execute_sql_flush = lambda self, found: empty(found[0], **found[1])
    flush.emit_post_migrate_signal = announce
    post_migrate.disconnect(create_contenttypes)
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    testcases.connection = Named(connections, "default")
    router.cell_alias = lambda cell: CellAlias(cell_alias(cell))


class CellAlias(str):
    """Names the database that `default` names too. Tests compare what a signal's `using` says with
    "default", and would look at nothing else if that alone failed them."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return other == "default" or str.__eq__(self, other)


class Named(ConnectionProxy):
    """Test cases list the databases that they use by name, and look whether this one is there."""

    alias = "default"


def announce(verbosity: int, interactive: bool, db: str, **options: Any) -> None:
    """What apps do after a migration, as the platform has them do it in a cell."""
    for config in apps.get_app_configs():
        if config.label in tenant_labels() and config.models_module is not None:
            post_migrate.send(
                sender=config,
                app_config=config,
                verbosity=verbosity,
                interactive=interactive,
                using=db,
                apps=apps,
                plan=[],
            )


@contextmanager
def administrator() -> Iterator[psycopg.Connection[Any]]:
    """Of the tenant's cell."""
    at = connection.settings_dict
    password = settings.MERIDIAN_DEPLOYMENT.password(ADMIN_ROLE)
    with psycopg.connect(
        host=at["HOST"], port=at["PORT"], dbname=at["NAME"], user=ADMIN_ROLE, password=password
    ) as session:
        yield session


def empty(tables: list[str], *, reset_sequences: bool = False, **options: Any) -> None:
    """Of the tenant's rows. Content types and permissions stay."""
    tenant = current_tenant()
    with administrator() as admin:
        admin.execute("SET LOCAL session_replication_role = replica")
        for table in set(tables) - REFERENCE_TABLES:
            delete = sql.SQL("DELETE FROM {}").format(sql.Identifier(tenant.schema, table))
            if tenant.mode == "shared":
                delete += sql.SQL(" WHERE tenant_id = {}").format(sql.Literal(tenant.id))
            admin.execute(delete)
        if reset_sequences:
            for name, start in admin.execute(_SEQUENCES, [tenant.schema]).fetchall():
                admin.execute(f"ALTER SEQUENCE {name} RESTART WITH {start}".encode())
