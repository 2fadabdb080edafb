"""A deployment of one region: a real PostgreSQL cluster and a control cell, no fleet around it.

Nobody grants leases here, so the control cell's gate is opened by hand, cells are written
everywhere (`active_active`), and `publish()` does what the region's agent would.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from infra.fleet.plan import Plan, deployment_document, make_plan
from infra.fleet.secrets import load_or_make
from infra.postgres.cluster import Cluster, prepare, wait_until_ready
from infra.postgres.placement import haven_of, place
from regions.deployment import ADMIN_ROLE, Deployment, load
from regions.mapfile import publish_document
from testkit.guard import Guard
from testkit.ports import free_port_base
from testkit.servers import start_cluster

if TYPE_CHECKING:
    from bench.frame import Bench
    from tenants.directory import TenantRecord

REPOSITORY = Path(__file__).parents[1]
NAME = "eu-west"


class BenchRegion:
    """The region, as benchmarks use it. Its PostgreSQL also holds the peers' databases."""

    def __init__(self, bench: Bench, plan: Plan, deployment: Deployment) -> None:
        self._bench = bench
        self.plan = plan
        self.deployment = deployment
        self.name = NAME

    def environment(self, *, operator: bool = False) -> dict[str, str]:
        """For a process of this region (or an operator's command) that the benchmark starts."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        own = {} if operator else {"MERIDIAN_REGION": NAME}
        return {
            **kept,
            **own,
            "MERIDIAN_DIR": str(self.plan.state),
            "DJANGO_SETTINGS_MODULE": "bench.settings",
            "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'platform'}",
            "PYTHONHASHSEED": "0",
        }

    @contextmanager
    def administrator(self, database: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
        dsn = self.deployment.dsn(NAME, database, ADMIN_ROLE)
        with psycopg.connect(dsn, autocommit=True) as connection:
            yield connection

    def publish(self) -> None:
        """Write the map folder from the control cell, as the agent does. No cell has a lease."""
        folder = self.deployment.region(NAME).map_dir
        with self.administrator("control") as admin:
            for name in ("topology", "directory"):
                call = sql.SQL("SELECT {}()").format(sql.Identifier("publish", name))
                row = admin.execute(call).fetchone()
                publish_document(folder / f"{name}.json", row[0])
        publish_document(folder / "leases.json", {"region": NAME, "cells": {}})

    def tenants(self, mode: str, number: int, *, cell: str | None = None) -> list[TenantRecord]:
        """At least `number` tenants of the mode, onboarded by the platform's own code; the same
        ones for every benchmark of the run. Shared and schema tenants have one cell together,
        unless a `cell` is named."""
        from bench.onboarding import ensure

        return ensure(self._bench, mode, number, cell=cell)


@contextmanager
def start(bench: Bench) -> Iterator[BenchRegion]:
    """Start it in a folder of its own; afterwards nothing of it is left."""
    state = Path(tempfile.mkdtemp(prefix="meridian-bench-"))
    state.chmod(0o711)
    guard = Guard()
    for folder in (state, haven_of(state)):
        guard.removes(folder)
    placement = place(state, os.environ)
    plan = make_plan(state, regions=1, port_base=free_port_base(regions=1), data=placement.data)
    document = deployment_document(plan, through_wan=False)
    (state / "deployment.json").write_text(json.dumps(document, indent=2))
    load_or_make(state)
    deployment = load(state / "deployment.json")
    bench.say(f"starting PostgreSQL in {state}")
    port = plan.region(NAME).postgres_port
    cluster = Cluster(plan.pgdata(NAME), port, placement.binaries, placement.account)
    prepare(cluster, deployment.password(ADMIN_ROLE))
    _tune(cluster)
    server = start_cluster(cluster, plan.logs)
    try:
        guard.ends(server.pid)
        wait_until_ready(deployment.dsn(NAME, "postgres", ADMIN_ROLE))
        region = BenchRegion(bench, plan, deployment)
        _set_up(region)
        yield region
    finally:
        guard.close()
        server.wait(timeout=60)
        shutil.rmtree(state, ignore_errors=True)


def _tune(cluster: Cluster) -> None:
    """A thousand tenants' tables fit into memory, so that what is measured is not the disk."""
    with (cluster.data / "postgresql.conf").open("a") as settings:
        settings.write("shared_buffers = '256MB'\nmax_connections = 300\n")


def _set_up(region: BenchRegion) -> None:
    """Django, the control cell, and its region's record."""
    os.environ["MERIDIAN_DIR"] = str(region.plan.state)
    os.environ.pop("MERIDIAN_REGION", None)
    import django

    django.setup()
    from regions import bootstrap
    from regions.models import Region

    bootstrap.databases(region.deployment, progress=lambda step: None)
    with region.administrator("control") as admin:
        admin.execute("UPDATE fabric.gate SET valid_until = 'infinity'")
    site = region.deployment.region(NAME)
    Region.objects.get_or_create(
        name=site.name,
        defaults={"country": site.country, "jurisdiction": site.jurisdiction, "node": site.node},
    )
    region.publish()


def run_quietly(command: list[str], **options: Any) -> None:
    """Run a command; what it prints is shown only if it fails."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")
