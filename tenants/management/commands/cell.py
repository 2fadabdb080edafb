"""`manage.py cell VERB`: make cells, look at their replicas, compare them."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, ClassVar

from regions.cli import VerbCommand
from regions.current import deployment
from regions.models import Cell
from regions.replication import status, verify
from regions.topology import WritePolicy
from tenants import lifecycle
from tenants.documents import cell_document
from tenants.errors import TenantsError
from tenants.management.actor import actor
from tenants.management.commands.tenant import MODES
from tenants.seams import find_cell, spec_for


class Command(VerbCommand):
    help = "Cells: make, look at, compare their replicas"
    platform_errors = (TenantsError, *VerbCommand.platform_errors)
    verbs: ClassVar[Mapping[str, str]] = {
        "create": "make a cell: a database in each of its regions",
        "list": "all cells",
        "show": "one cell with its replicas as they are now",
        "verify": "compare the replicas' rows",
    }

    def add_create(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--mode", required=True, choices=MODES)
        parser.add_argument("--regions", required=True, help="comma-separated, its home first")
        parser.add_argument(
            "--policy", required=True, choices=[policy.value for policy in WritePolicy]
        )

    def do_create(
        self, name: str, mode: str, regions: str, policy: str, **options: Any
    ) -> dict[str, Any]:
        cell = lifecycle.create_cell(
            name,
            mode=mode,
            regions=[region.strip() for region in regions.split(",") if region.strip()],
            policy=policy,
            actor=actor(),
            progress=lambda step, percent: self.progress(f"{percent:3d} % {step}"),
        )
        return cell_document(find_cell(cell.name))

    def do_list(self, **options: Any) -> list[dict[str, Any]]:
        return [cell_document(cell) for cell in Cell.objects.prefetch_related("replicas")]

    def show_list(self, document: list[dict[str, Any]]) -> None:
        columns = ("name", "mode", "policy", "regions", "writer", "state")
        self.table(
            columns,
            (
                [", ".join(entry[name]) if name == "regions" else entry[name] for name in columns]
                for entry in document
            ),
        )

    def add_show(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")

    def do_show(self, name: str, **options: Any) -> dict[str, Any]:
        return status.cell_status(deployment(), spec_for(find_cell(name)))

    def add_verify(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")

    def do_verify(self, name: str, **options: Any) -> dict[str, Any]:
        return verify.compare(deployment(), spec_for(find_cell(name)))
