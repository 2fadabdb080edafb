"""`manage.py doctor`: proves isolation on the servers as they run now."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from regions.cli import PlatformCommand
from tenants.doctor.examine import examine
from tenants.errors import TenantsError
from tenants.seams import find_cell


class Command(PlatformCommand):
    help = (
        "Examine every replica of every cell: may the application's role do more than it should, "
        "is every table behind its policy, does a forged context fail. Exit status: 0 nothing to "
        "mend, 1 findings (the document is printed either way)."
    )
    platform_errors = (TenantsError, *PlatformCommand.platform_errors)

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("--cell", metavar="NAME", help="only this cell")

    def do(self, **options: Any) -> dict[str, Any]:
        cell: str | None = options["cell"]
        if cell is not None:
            find_cell(cell)
        report = examine(cell=cell, progress=self.progress)
        if not report.healthy:
            self.refusal = "There is something to mend: see the findings."
        return report.document()

    def show(self, document: dict[str, Any]) -> None:
        if document["findings"]:
            columns = ("severity", "check", "where", "what", "next")
            self.table(columns, ([f[c] for c in columns] for f in document["findings"]))
        self.stdout.write(
            f"{len(document['checked'])} checks, {len(document['findings'])} findings: "
            + ("isolation holds." if document["healthy"] else "there is something to mend.")
        )
