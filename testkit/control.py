"""A control cell that takes writes, its tenants, and the maps that agents publish.

Nobody grants leases here, so the control cell's gate is opened by hand and cells are active-active:
every region writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.db import connections

from regions import bootstrap, cells
from regions.deployment import CONTROL_CELL, Deployment
from regions.mapfile import publish_document
from regions.models import Cell, Region
from tenants.databases import CONTROL_ALIAS, control_writer_alias
from tenants.lifecycle import provision
from tenants.lifecycle.create_cell import discard
from tenants.lifecycle.register import forget
from tenants.models import Tenant
from tenants.seams import find_cell, spec_for

MAPS = ("directory", "topology")


def silent(step: str, percent: int) -> None:
    """Progress that nobody reads."""


def prepare_control(deployment: Deployment) -> None:
    """The control cell, with the deployment's regions in it. Safe to repeat."""
    home = next(iter(deployment.regions))
    with cells.administrator(deployment, home) as admin:
        known = admin.execute("SELECT 1 FROM pg_database WHERE datname = 'control'").fetchone()
    if known is None:
        bootstrap.databases(deployment, progress=lambda step: None)
    for region in deployment.regions:
        with cells.administrator(deployment, region, CONTROL_CELL) as admin:
            admin.execute("UPDATE fabric.gate SET valid_until = 'infinity'")
    for site in deployment.regions.values():
        Region.objects.get_or_create(
            name=site.name,
            defaults={
                "country": site.country,
                "jurisdiction": site.jurisdiction,
                "node": site.node,
            },
        )


def onboard(slug: str, mode: str, **options: Any) -> Tenant:
    """A tenant, in a cell that every region writes unless `cell` names another one."""
    if "cell" not in options:
        options.setdefault("policy", "active_active")
    return provision(slug, mode=mode, actor="test", progress=silent, **options)


def end_cell(name: str) -> None:
    """The cell is gone with its tenants and databases, and nobody works for it any more."""
    using = control_writer_alias()
    Cell.objects.using(using).filter(name=name).update(state=Cell.State.PROVISIONING)
    spec = spec_for(find_cell(name, using=using))
    for tenant in Tenant.objects.using(using).filter(cell=name):
        forget(tenant, using=using)
    connections.close_all()
    discard(spec)


def publish_maps(deployment: Deployment, leases: Mapping[str, str] | None = None) -> None:
    """What agents publish, from the control cell as it is now. `leases`: writers by cell."""
    with connections[CONTROL_ALIAS].cursor() as cursor:
        for name in MAPS:
            cursor.execute(f"SELECT publish.{name}()")
            document = cursor.fetchone()[0]
            for folder in deployment.map_dirs:
                publish_document(folder / f"{name}.json", _parsed(document))
    written = {cell: {"writer": writer, "epoch": 1} for cell, writer in (leases or {}).items()}
    for folder in deployment.map_dirs:
        publish_document(folder / "leases.json", {"cells": written})


def forget_maps(deployment: Deployment) -> None:
    """Other tests bring their own."""
    for folder in deployment.map_dirs:
        for name in (*MAPS, "leases"):
            (folder / f"{name}.json").unlink(missing_ok=True)


def _parsed(document: Any) -> Any:
    return json.loads(document) if isinstance(document, str) else document
