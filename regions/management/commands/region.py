"""`manage.py region list|switchover|failover|evacuate|failback`: regions and writers."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from typing import Any

from regions.cli import VerbCommand
from regions.current import deployment
from regions.deployment import Deployment
from regions.failover import operations
from regions.failover.plan import Plan, plan_failover
from regions.replication.status import cell_status
from regions.topology import Topology, read_topology


class Command(VerbCommand):
    help = "Regions, and which of them writes which cell."
    verbs = {
        "list": "the regions, whether they answer, and the cells they hold and write",
        "failover": "move every writer out of a region, alive or lost; prints RTO and RPO",
        "switchover": "move one cell's writer without losing a write",
        "evacuate": "switch over every cell that a region writes, without losing a write",
        "failback": "switch a cell over to its home region",
    }

    def add_failover(self, parser: ArgumentParser) -> None:
        parser.add_argument("region", help="the region that stops writing")
        parser.add_argument("--to", metavar="REGION", help="where to (default: by preference)")
        _dry_run(parser)

    def add_switchover(self, parser: ArgumentParser) -> None:
        parser.add_argument("cell")
        parser.add_argument("--to", metavar="REGION", required=True)

    def add_evacuate(self, parser: ArgumentParser) -> None:
        parser.add_argument("region", help="the region that stops writing")
        _dry_run(parser)

    def add_failback(self, parser: ArgumentParser) -> None:
        parser.add_argument("cell")

    def do_list(self) -> list[dict[str, Any]]:
        where, topology = world()
        statuses = [cell_status(where, spec) for spec in topology.cells.values()]
        return [
            {
                "name": site.name,
                "country": site.country,
                "jurisdiction": site.jurisdiction,
                "up": any(
                    replica["up"]
                    for status in statuses
                    for replica in status["replicas"]
                    if replica["region"] == site.name
                ),
                "cells": [s["name"] for s in statuses if _holds(s, site.name)],
                "writes": [s["name"] for s in statuses if _writes(s, site.name)],
            }
            for site in where.regions.values()
        ]

    def show_list(self, document: list[dict[str, Any]]) -> None:
        self.table(
            ("region", "country", "law", "state", "writes", "holds"),
            (
                (
                    entry["name"],
                    entry["country"],
                    entry["jurisdiction"],
                    "up" if entry["up"] else "DOWN",
                    ", ".join(entry["writes"]) or None,
                    ", ".join(entry["cells"]),
                )
                for entry in document
            ),
        )

    def do_failover(self, region: str, to: str | None, dry_run: bool) -> dict[str, Any]:
        where, topology = world()
        if dry_run:
            return _preview(plan_failover(where, topology, region, to=to))
        return operations.failover(
            where, topology, region, to=to, actor=operator(), progress=self.progress
        )

    def do_switchover(self, cell: str, to: str) -> dict[str, Any]:
        where, topology = world()
        return operations.switchover(
            where, topology, cell, to, actor=operator(), progress=self.progress
        )

    def do_evacuate(self, region: str, dry_run: bool) -> dict[str, Any]:
        where, topology = world()
        if dry_run:
            return _preview(plan_failover(where, topology, region))
        return operations.evacuate(
            where, topology, region, actor=operator(), progress=self.progress
        )

    def do_failback(self, cell: str) -> dict[str, Any]:
        where, topology = world()
        return operations.failback(where, topology, cell, actor=operator(), progress=self.progress)

    def show_failover(self, document: dict[str, Any]) -> None:
        for moved in document.get("cells", [document]):
            if "rto_seconds" not in moved:
                self.stdout.write(
                    f"{moved['cell']} → {moved['to'] or 'nowhere'}: {moved['reason']}"
                )
                continue
            self.stdout.write(
                f"{moved['cell']}: {moved['from'] or 'nobody'} → {moved['to']}"
                f"  RTO {moved['rto_seconds']:.3f} s  RPO {moved['rpo_writes']} writes"
                f"  pause {moved['pause_ms']} ms"
            )
        for cell in document.get("already_elsewhere", []):
            writer = cell["writer"] or "nobody"
            self.stdout.write(f"{cell['cell']}: written by {writer} already, nothing to move")
        for cell in document.get("dark", []):
            self.stdout.write(self.style.WARNING(f"{cell['cell']}: {cell['reason']}"))

    show_switchover = show_evacuate = show_failback = show_failover


def world() -> tuple[Deployment, Topology]:
    """The deployment and its newest map. Raises DeploymentError when there is none."""
    where = deployment()
    return where, read_topology(where.map_dirs, where.regions)


def operator() -> str:
    return getpass.getuser()


def _dry_run(parser: ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only say what would move where")


def _preview(plans: list[Plan]) -> dict[str, Any]:
    return {
        "cells": [
            {"cell": p.spec.name, "from": p.source, "to": p.target, "reason": p.reason}
            for p in plans
        ]
    }


def _holds(status: dict[str, Any], region: str) -> bool:
    return any(replica["region"] == region for replica in status["replicas"])


def _writes(status: dict[str, Any], region: str) -> bool:
    return any(
        replica["region"] == region and replica["writable"] for replica in status["replicas"]
    )
