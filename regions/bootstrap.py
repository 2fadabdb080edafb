"""Brings a deployment's control cell to life, region by region. Idempotent.

`databases` needs only PostgreSQL; `records` needs the agents, because it waits for a writer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import psycopg
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connections, transaction

from regions import cells
from regions.deployment import CONTROL_CELL, OWNER_ROLE, Deployment
from regions.errors import NoWriter
from regions.failover.agent import control_cell
from regions.models import Cell, Region, Replica
from regions.replication import capture, reference_ids
from regions.upgrade import upgrade_replicas

Progress = Callable[[str], None]

OPERATOR = "operator"
WRITER_SECONDS = 30.0
OWNER_ALIAS = "control:owner"


def databases(deployment: Deployment, *, progress: Progress) -> None:
    """Roles, the control database with its tables, and replication, in every region; replicas of
    an earlier version are upgraded."""
    spec = control_cell(deployment)
    for region in spec.regions:
        progress(f"{region}: roles and control database")
        cells.prepare_region(deployment, region)
        for database in upgrade_replicas(deployment, region):
            progress(f"{region}: {database} is of this version now")
    cells.create_databases(deployment, spec)
    for region in spec.regions:
        progress(f"{region}: tables of the control cell")
        migrate_control(deployment, region, local_tables=settings.MERIDIAN_LOCAL_TABLES)
    progress("replication of the control cell")
    cells.connect_replicas(deployment, spec)


def migrate_control(deployment: Deployment, region: str, *, local_tables: Collection[str]) -> None:
    """Migrate the control database of one region and put its tables under the fabric."""
    dsn = deployment.dsn(region, spec_database := control_cell(deployment).database, OWNER_ROLE)
    at = deployment.postgres_endpoint(region)
    connections.settings[OWNER_ALIAS] = {
        **connections.settings["default"],
        "NAME": spec_database,
        "HOST": at.host,
        "PORT": str(at.port),
        "USER": OWNER_ROLE,
        "PASSWORD": deployment.password(OWNER_ROLE),
    }
    try:
        # Reference rows get ids that are the same everywhere, so nothing writes any before the
        # triggers that derive them are there.
        call_command("migrate", database=OWNER_ALIAS, verbosity=0, interactive=False)
        with psycopg.connect(dsn) as owner:
            reference_ids.install(owner)
            capture.attach(
                owner,
                "public",
                local_tables=local_tables,
            )
    finally:
        connections[OWNER_ALIAS].close()
        del connections[OWNER_ALIAS]
        del connections.settings[OWNER_ALIAS]


def records(deployment: Deployment, alias: Callable[[], str], *, progress: Progress) -> None:
    """The regions, the control cell's own entry, and the operator's account.

    `alias` names the control cell's writer. Raises NoWriter if no region becomes it in time.
    """
    progress("waiting for the control cell's writer")
    using = _writable(deployment, alias)
    with transaction.atomic(using=using):
        for priority, site in enumerate(deployment.regions.values()):
            region, _ = Region.objects.using(using).get_or_create(
                name=site.name,
                defaults={
                    "country": site.country,
                    "jurisdiction": site.jurisdiction,
                    "node": site.node,
                },
            )
            cell, _ = Cell.objects.using(using).get_or_create(
                name=CONTROL_CELL,
                defaults={
                    "mode": Cell.Mode.CONTROL,
                    "policy": Cell.Policy.ACTIVE_PASSIVE,
                    "state": Cell.State.READY,
                },
            )
            Replica.objects.using(using).get_or_create(
                cell=cell, region=region, defaults={"priority": priority}
            )
        users = get_user_model()._default_manager.db_manager(using)
        if not users.filter(username=OPERATOR).exists():
            users.create_superuser(username=OPERATOR, password=deployment.secrets.operator_password)
    progress(f"control cell is written in {using}")


def _writable(deployment: Deployment, alias: Callable[[], str]) -> str:
    deadline = time.monotonic() + WRITER_SECONDS
    while time.monotonic() < deadline:
        using = alias()
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT fabric.may_write()")
            row = cursor.fetchone()
            if row and row[0]:
                return using
        time.sleep(0.1)
    agents = ", ".join(deployment.regions)
    raise NoWriter(
        f"No region became the control cell's writer within {WRITER_SECONDS:g} s: "
        f"are the agents of {agents} running?"
    )
