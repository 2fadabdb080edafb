"""`manage.py cell verify`: its options, its progress, its report."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from regions.cli import VerbCommand
from regions.current import deployment
from tenants.management.actor import actor
from tenants.seams import find_cell, spec_for

NEVER = timedelta(0)
_UNITS = {"m": 60, "h": 3600, "d": 86_400}


class VerifyVerb(VerbCommand):
    """The verb `verify` of `cell`."""

    def add_verify(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--repair",
            action="store_true",
            help="make the replicas equal; what one of them loses is in its ledger",
        )
        what.add_argument(
            "--every",
            type=interval,
            metavar="30m|6h|1d|never",
            help="only set how often the agents compare this cell by themselves (1d)",
        )

    def do_verify(
        self, name: str, repair: bool, every: timedelta | None, **options: Any
    ) -> dict[str, Any]:
        from regions.replication.declared import set_interval
        from tenants.lifecycle.verify_cell import verify_cell

        if every is not None:
            set_interval(deployment(), spec_for(find_cell(name)), every or None)
            seconds = every.total_seconds() or None
            return {"cell": name, "verify_every_seconds": seconds}
        verdict = verify_cell(name, repair=repair, actor=actor(), tell=self.progress)
        self.refusal = verdict.refusal
        return verdict.document()

    def show_verify(self, document: dict[str, Any]) -> None:
        if "equal" not in document:
            seconds = document["verify_every_seconds"]
            often = f"every {timedelta(seconds=seconds)}" if seconds else "only on demand"
            self.stdout.write(f"{document['cell']} is compared {often}.")
            return
        if document["differences"]:
            self.table(
                ("table", "key", "what", "repaired"),
                (
                    (
                        one["table"],
                        ", ".join(f"{name}={text}" for name, text in (one["key"] or {}).items()),
                        one["reason"],
                        "yes" if one["repaired"] else "no",
                    )
                    for one in document["differences"]
                ),
            )
        state = "equal" if document["equal"] else "NOT known to be equal"
        self.stdout.write(
            f"{document['cell']} is {state} in {', '.join(document['regions'])}:"
            f" {document['rows']} rows of {document['tenants']} tenants in {document['tables']}"
            f" tables, {document['differing_rows']} differed, {document['repaired_rows']} repaired,"
            f" {document['in_flight_rows']} were being written ({document['seconds']} s)"
        )


def interval(text: str) -> timedelta:
    """`30m`, `6h`, `1d`; `never` is no time at all."""
    if text == "never":
        return NEVER
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdecimal() or int(number) == 0:
        raise ArgumentTypeError(f"{text!r} is no interval: write 30m, 6h, 1d or never")
    return timedelta(seconds=int(number) * _UNITS[unit])
