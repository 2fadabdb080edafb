"""`manage.py bootstrap databases|records`: the control cell of a new deployment."""

from __future__ import annotations

from typing import Any

from django.db import connections

from regions import bootstrap
from regions.cli import VerbCommand
from regions.current import deployment
from regions.deployment import CONTROL_CELL, CONTROL_DATABASE, Deployment
from regions.topology import read_leases


class Command(VerbCommand):
    help = "Set up the control cell of a deployment; safe to repeat."
    verbs = {
        "databases": "roles, control databases, their tables and replication (needs PostgreSQL)",
        "records": "regions, the control cell's entry, the operator account (needs the agents)",
    }

    def do_databases(self) -> dict[str, Any]:
        where = deployment()
        bootstrap.databases(where, progress=self.progress)
        return {"regions": list(where.regions)}

    def do_records(self) -> dict[str, Any]:
        where = deployment()
        bootstrap.records(where, lambda: _writer_alias(where), progress=self.progress)
        return {"regions": list(where.regions), "operator": bootstrap.OPERATOR}


def _writer_alias(where: Deployment) -> str:
    """An alias of the control cell in the region that leads it now."""
    lease = read_leases(where.map_dirs).get(CONTROL_CELL)
    if lease is None:
        return "default"
    at = where.postgres_endpoint(lease.writer)
    alias = f"control@{lease.writer}"
    connections.settings.setdefault(
        alias,
        {
            **connections.settings["default"],
            "NAME": CONTROL_DATABASE,
            "HOST": at.host,
            "PORT": str(at.port),
        },
    )
    return alias
