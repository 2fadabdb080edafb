"""`manage.py cell add-region|remove-region`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from regions.cli import VerbCommand
from tenants import lifecycle
from tenants.documents import cell_document
from tenants.management.actor import actor


class RegionVerbs(VerbCommand):
    """The verbs that change where a cell's replicas are."""

    def add_add_region(self, parser: ArgumentParser) -> None:
        _where(parser, "where it gets a replica, too")

    def do_add_region(self, name: str, region: str, **options: Any) -> dict[str, Any]:
        return cell_document(lifecycle.add_region(name, region, actor=actor(), progress=self._step))

    def add_remove_region(self, parser: ArgumentParser) -> None:
        _where(parser, "whose replica goes")

    def do_remove_region(self, name: str, region: str, **options: Any) -> dict[str, Any]:
        return cell_document(
            lifecycle.remove_region(name, region, actor=actor(), progress=self._step)
        )

    def _step(self, step: str, percent: int) -> None:
        self.progress(f"{percent:3d} % {step}")


def _where(parser: ArgumentParser, what: str) -> None:
    parser.add_argument("name", metavar="CELL")
    parser.add_argument("region", metavar="REGION", help=what)
