"""`manage.py region VERB`: regions and writers."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from functools import partial
from typing import Any

from regions.cli import VerbCommand
from regions.current import deployment
from regions.deployment import Deployment
from regions.failover import emptying, operations
from regions.failover.aside import aside_now, stand_aside
from regions.failover.draining import plan_nowhere
from regions.failover.plan import Plan, answers, plan_failover, plan_switchover
from regions.replication.status import cell_status
from regions.topology import Topology, read_topology
from tenants.directory import first_of, newest_directory, slugs_by_cell


class Command(VerbCommand):
    help = "Regions, and which of them writes which cell."
    verbs = {
        "list": "the regions, whether they answer, and the cells they hold and write",
        "failover": "move every writer out of a region, alive or lost; prints RTO and RPO",
        "switchover": "move one cell's writer without losing a write",
        "evacuate": "switch over every cell that a region writes, without losing a write",
        "drain": "the same, some cells at a time; stops where one can't be moved",
        "maintenance": "empty a region and have it stand aside until --end",
        "failback": "switch a cell, or all of a region's, over to its home once that has caught up",
    }

    def add_failover(self, parser: ArgumentParser) -> None:
        parser.add_argument("region", help="the region that stops writing")
        parser.add_argument("--to", metavar="REGION", help="where to (default: by preference)")
        _dry_run(parser)

    def add_switchover(self, parser: ArgumentParser) -> None:
        parser.add_argument("cell")
        parser.add_argument("--to", metavar="REGION", required=True)
        _dry_run(parser)

    def add_evacuate(self, parser: ArgumentParser) -> None:
        parser.add_argument("region", help="the region that stops writing")
        _dry_run(parser)

    def add_drain(self, parser: ArgumentParser) -> None:
        self.add_evacuate(parser)
        _step(parser, 10)

    def add_maintenance(self, parser: ArgumentParser) -> None:
        self.add_drain(parser)
        parser.add_argument("--end", action="store_true", help="it takes leases again as usual")

    def add_failback(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("cell", nargs="?")
        which.add_argument("--region", help="every cell whose home this is")
        parser.add_argument(
            "--wait", type=float, default=60, metavar="SECONDS", help="until it has caught up (60)"
        )
        _step(parser, None)
        _dry_run(parser)

    def do_list(self) -> list[dict[str, Any]]:
        where, topology = world()
        aside = aside_now(where)
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
                "aside": site.name in aside,
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
                    ("up" if entry["up"] else "DOWN") + (", aside" if entry["aside"] else ""),
                    ", ".join(entry["writes"]) or None,
                    ", ".join(entry["cells"]),
                )
                for entry in document
            ),
        )

    def do_failover(self, region: str, to: str | None, dry_run: bool) -> dict[str, Any]:
        where, topology = world()
        if dry_run:
            plans = plan_failover(where, topology, region, to=to)
            return _with_losses(where, [*plans, *_nowhere(where, topology, region)])
        return operations.failover(
            where, topology, region, to=to, actor=operator(), progress=self.progress
        )

    def do_switchover(self, cell: str, to: str, dry_run: bool) -> dict[str, Any]:
        where, topology = world()
        if dry_run:
            return _preview(where, [plan_switchover(where, topology, cell, to)])
        return operations.switchover(
            where, topology, cell, to, actor=operator(), progress=self.progress
        )

    def do_evacuate(self, region: str, dry_run: bool, step: int | None = None) -> dict[str, Any]:
        return self._emptied(region, dry_run, step, aside=False)

    do_drain = do_evacuate

    def do_maintenance(self, region: str, dry_run: bool, step: int, end: bool) -> dict[str, Any]:
        if not end:
            return {"aside": True, **self._emptied(region, dry_run, step, aside=True)}
        where, topology = world()
        if not dry_run:
            stand_aside(where, region, False, by=operator())
        plans = emptying.homecoming(where, topology, region, returning=True)
        return {**_preview(where, plans), "aside": dry_run}

    def _emptied(
        self, region: str, dry_run: bool, step: int | None, *, aside: bool
    ) -> dict[str, Any]:
        where, topology = world()
        if dry_run:
            plans = emptying.evacuation(where, topology, region)
            return _without(where, [*plans, *_nowhere(where, topology, region)])
        how: dict[str, Any] = {"actor": operator(), "progress": self.progress}
        return self._outcome(emptying.empty(where, topology, region, step=step, aside=aside, **how))

    def show_maintenance(self, document: dict[str, Any]) -> None:
        self.show_failover(document)
        if document["aside"] is False:
            self.stdout.write(
                "It takes leases again; `region failback --region` brings these home."
            )

    def do_failback(
        self, cell: str | None, region: str | None, wait: float, step: int | None, dry_run: bool
    ) -> dict[str, Any]:
        where, topology = world()
        if dry_run:
            home = region or topology.cell(cell or "").regions[0]
            plans = emptying.homecoming(where, topology, home)
            return _preview(where, [plan for plan in plans if cell in (None, plan.spec.name)])
        how: dict[str, Any] = {"patience": wait, "actor": operator(), "progress": self.progress}
        if region is None:
            return operations.failback(where, topology, cell or "", **how)
        return self._outcome(emptying.bring_home(where, topology, region, step=step, **how))

    def _outcome(self, document: dict[str, Any]) -> dict[str, Any]:
        self.refusal = document.pop("refusal")
        return document

    def show_failover(self, document: dict[str, Any]) -> None:
        others = ("already_elsewhere", "dark", "remain", "failed", "left")
        if document.get("cells") == [] and not any(document.get(key) for key in others):
            self.stdout.write("Nothing to move.")
        for moved in document.get("cells", [document]):
            if "rto_seconds" not in moved:
                self._show_planned(moved)
                continue
            self.stdout.write(
                f"{moved['cell']}: {moved['from'] or 'nobody'} → {moved['to']}"
                f"  RTO {moved['rto_seconds']:.3f} s  RPO {moved['rpo_writes']} writes"
                f"  pause {moved['pause_ms']} ms"
            )
        if dark := document.get("tenants_dark"):
            self.stdout.write(self.style.WARNING(f"{dark} tenants would have no writer."))
        for cell in document.get("already_elsewhere", []):
            writer = cell["writer"] or "nobody"
            self.stdout.write(f"{cell['cell']}: written by {writer} already, nothing to move")
        for cell in document.get("dark", []):
            self.stdout.write(self.style.WARNING(f"{cell['cell']}: {cell['reason']}"))

        for cell in document.get("remain", []):
            self.stdout.write(self.style.WARNING(f"{cell['cell']}: {cell['reason']}"))
        for cell in document.get("failed", []):
            self.stdout.write(self.style.ERROR(f"{cell['cell']}: {cell['reason']}"))
        if left := document.get("left"):
            self.stdout.write(f"Not tried: {', '.join(left)}")

    def _show_planned(self, planned: dict[str, Any]) -> None:
        """Of who would have no writer it tells who they are."""
        line = f"{planned['cell']} → {planned['to'] or 'nowhere'}: {planned['reason']}"
        tenants = planned["tenants"]
        if planned["to"] or not tenants:
            self.stdout.write(f"{line} Tenants: {len(tenants)}.")
            return
        named = f"Tenants ({len(tenants)}): {first_of(tenants)}."
        self.stdout.write(self.style.WARNING(f"{line} {named}"))

    show_switchover = show_evacuate = show_drain = show_failback = show_failover


def world() -> tuple[Deployment, Topology]:
    """The deployment and its newest map. Raises DeploymentError when there is none."""
    where = deployment()
    return where, read_topology(where.map_dirs, where.regions)


def operator() -> str:
    return getpass.getuser()


def _dry_run(parser: ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only say what would move where")


def _step(parser: ArgumentParser, default: int | None) -> None:
    parser.add_argument(
        "--step",
        type=_positive,
        default=default,
        metavar="N",
        help=f"cells at a time ({default or 'all'})",
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _preview(where: Deployment, plans: list[Plan]) -> dict[str, Any]:
    """What moves, and whose it is: as the map says, which is there when no database is."""
    slugs = slugs_by_cell(newest_directory(where.map_dirs))
    return {
        "cells": [
            {
                "cell": plan.spec.name,
                "from": plan.source,
                "to": plan.target,
                "reason": plan.reason,
                "tenants": slugs.get(plan.spec.name, []),
            }
            for plan in plans
        ]
    }


def _nowhere(where: Deployment, topology: Topology, region: str) -> list[Plan]:
    return plan_nowhere(topology, region, partial(answers, where))


def _without(where: Deployment, plans: list[Plan]) -> dict[str, Any]:
    """The same of a region that is to be without writers: who has no other counts."""
    document = _preview(where, plans)
    dark = (len(cell["tenants"]) for cell in document["cells"] if cell["to"] is None)
    return {**document, "tenants_dark": sum(dark)}


def _with_losses(where: Deployment, plans: list[Plan]) -> dict[str, Any]:
    """A preview that says of each target until how long ago it has what the lost writer wrote:
    `local` writes since then are not there, and are merged when the region returns."""
    document = _without(where, plans)
    for plan, shown in zip(plans, document["cells"], strict=True):
        replicas = cell_status(where, plan.spec)["replicas"] if plan.target else []
        lags = [lag for one in replicas if one["region"] == plan.target for lag in one["lag"]]
        behind = next((lag["seconds"] for lag in lags if lag["from"] == plan.source), None)
        shown["behind_seconds"] = behind
        if behind is not None:
            shown["reason"] += f" It has all that {plan.source} wrote until {behind:.1f} s ago."
    return document


def _holds(status: dict[str, Any], region: str) -> bool:
    return any(replica["region"] == region for replica in status["replicas"])


def _writes(status: dict[str, Any], region: str) -> bool:
    return any(
        replica["region"] == region and replica["writable"] for replica in status["replicas"]
    )
