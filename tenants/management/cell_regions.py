"""`manage.py cell add-region|remove-region`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management import CommandError

from regions.cli import VerbCommand
from tenants.documents import cell_document
from tenants.management.actor import actor


class RegionVerbs(VerbCommand):
    """The verbs that change where a cell's replicas are."""

    def add_add_region(self, parser: ArgumentParser) -> None:
        _where(parser, "where it gets a replica, too")

    def do_add_region(self, name: str, region: str, **options: Any) -> dict[str, Any]:
        from tenants import lifecycle

        return cell_document(lifecycle.add_region(name, region, actor=actor(), progress=self._step))

    def add_remove_region(self, parser: ArgumentParser) -> None:
        _where(parser, "whose replica goes")
        parser.add_argument(
            "--lost", action="store_true", help="it is gone for good, with what it had not sent"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="with --lost: only say what would be lost"
        )
        parser.add_argument("--yes", action="store_true", help="with --lost: really")

    def do_remove_region(
        self, name: str, region: str, lost: bool, dry_run: bool, yes: bool, **options: Any
    ) -> dict[str, Any]:
        from tenants import lifecycle

        if not lost:
            if dry_run:
                raise CommandError("--dry-run is for a region that is --lost.", returncode=2)
            return cell_document(
                lifecycle.remove_region(name, region, actor=actor(), progress=self._step)
            )
        if dry_run:
            return {"dry_run": True, **lifecycle.foresee_expulsion(name, region)}
        if not yes:
            loss = lifecycle.foresee_expulsion(name, region)["loss"]
            raise CommandError(f"{loss} Repeat it with --yes.", returncode=2)
        return lifecycle.expel_region(name, region, actor=actor(), progress=self._step)

    def _step(self, step: str, percent: int) -> None:
        self.progress(f"{percent:3d} % {step}")


def _where(parser: ArgumentParser, what: str) -> None:
    parser.add_argument("name", metavar="CELL")
    parser.add_argument("region", metavar="REGION", help=what)
