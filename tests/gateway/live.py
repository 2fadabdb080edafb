"""Two real cells for requests that reach the database, and the maps that lead to them.

`lab` is written in both of its regions and replicates; `fenced` has one writer, and nobody was
ever given its lease.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from uuid import UUID

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.core.management.commands.migrate import Command as DjangosMigrate
from django.db import connections

from regions import cells
from regions.deployment import OWNER_ROLE, Deployment
from regions.replication import capture
from regions.topology import CellSpec, TenancyMode, WritePolicy
from tenants.databases import register_cell
from tenants.isolation.modes import isolation_of
from tests.gateway import maps

HERE, PEER = "eu-west", "eu-central"
LAB = CellSpec("desk-lab", TenancyMode.DEDICATED, WritePolicy.ACTIVE_ACTIVE, (HERE, PEER))
FENCED = CellSpec("desk-fenced", TenancyMode.DEDICATED, WritePolicy.ACTIVE_PASSIVE, (HERE, PEER))
OTHER = UUID(int=2)


@cache
def make_cells() -> None:
    """Made once a run; the clusters are thrown away with it."""
    deployment: Deployment = settings.MERIDIAN_DEPLOYMENT
    for spec in (LAB, FENCED):
        for region in spec.regions:
            cells.prepare_region(deployment, region)
        cells.create_databases(deployment, spec)
        isolation_of(spec).prepare_cell(lambda step, percent: None)
        for region in spec.regions:
            owner = register_cell(spec, region, OWNER_ROLE)
            call_command(DjangosMigrate(), database=owner, verbosity=0)
            connections[owner].close()
            with psycopg.connect(deployment.dsn(region, spec.database, OWNER_ROLE)) as connection:
                capture.attach(
                    connection,
                    "public",
                    local_tables=settings.MERIDIAN_LOCAL_TABLES,
                )
        cells.connect_replicas(deployment, spec)


@contextmanager
def serving(folder: Path) -> Iterator[None]:
    """The map leads to both cells; what it said before is put back."""
    before = {path: path.read_bytes() for path in folder.glob("*.json")}
    cell_entries = [
        {**maps.cell(spec.name, *spec.regions, policy=spec.policy.value), "mode": "dedicated"}
        for spec in (LAB, FENCED)
    ]
    maps.publish(
        folder,
        cells=[maps.cell("control", HERE), *cell_entries],
        tenants=[
            maps.tenant("acme", LAB.name, mode="dedicated"),
            maps.tenant("beta", FENCED.name, id=OTHER, mode="dedicated"),
        ],
        writers={FENCED.name: HERE},
    )
    try:
        yield
    finally:
        for path in folder.glob("*.json"):
            path.unlink()
        for path, content in before.items():
            path.write_bytes(content)


def empty_tables() -> None:
    """What a test wrote in the lab is gone before the next."""
    deployment: Deployment = settings.MERIDIAN_DEPLOYMENT
    desk = "desk_ticket_tags, desk_comment, desk_ticket, desk_tag, desk_customer"
    for region in LAB.regions:
        with cells.administrator(deployment, region, LAB.database) as admin:
            admin.execute("SET session_replication_role = replica")
            admin.execute(f"TRUNCATE {desk}, auth_user, idempotency_answer CASCADE".encode())


def count(deployment: Deployment, table: str, region: str = HERE, cell: str = LAB.database) -> int:
    """The rows of a table in one replica."""
    with psycopg.connect(deployment.dsn(region, cell, OWNER_ROLE)) as owner:
        row = owner.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
        assert row is not None
        return int(row[0])
