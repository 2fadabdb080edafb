"""`manage.py cell budget`: how far a cell's regions may run apart."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from regions.cli import VerbCommand
from regions.current import deployment
from regions.replication.budget import Budget, Over
from tenants.seams import find_cell, spec_for

_UNITS = {"MB": 2**20, "GB": 2**30}


class BudgetVerb(VerbCommand):
    """The verb `budget` of `cell`."""

    def add_budget(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument(
            "--log",
            required=True,
            type=size,
            metavar="64MB|1GB",
            help="log that a region keeps for each of the others, and unapplied of each",
        )
        parser.add_argument(
            "--over",
            required=True,
            choices=[over.value for over in Over],
            help="let-go: go on, who is behind is seeded again; refuse: slow, then refuse writers",
        )

    def do_budget(self, name: str, log: int, over: str, **options: Any) -> dict[str, Any]:
        from regions.replication.declared import set_budget

        set_budget(deployment(), spec_for(find_cell(name)), Budget(log, Over(over)))
        return {"cell": name, "log_bytes": log, "over": over}

    def show_budget(self, document: dict[str, Any]) -> None:
        self.stdout.write(
            f"{document['cell']}: {document['log_bytes'] // 2**20} MB of log, then"
            f" {document['over']}."
        )


def size(text: str) -> int:
    """`64MB` or `1GB` in bytes."""
    number, unit = text[:-2], text[-2:]
    if unit not in _UNITS or not number.isdecimal() or int(number) == 0:
        raise ArgumentTypeError(f"{text!r} is no size: write 64MB or 1GB")
    return int(number) * _UNITS[unit]
