"""`manage.py cell policy`: another write policy, or another timetable, in use."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from regions.cli import VerbCommand
from regions.timetable import GRAMMAR
from regions.topology import TenancyMode, WritePolicy
from tenants.documents import cell_document
from tenants.management.actor import actor
from tenants.seams import find_cell

MODES = [mode.value for mode in TenancyMode if mode is not TenancyMode.CONTROL]
POLICIES = [policy.value for policy in WritePolicy]


def add_timetable(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--timetable",
        metavar="TEXT",
        help=f"for follow_the_sun: {GRAMMAR}, with commas between shifts",
    )


class PolicyVerb(VerbCommand):
    """The verb `policy` of `cell`."""

    def add_policy(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--to", required=True, choices=POLICIES)
        add_timetable(parser)
        parser.add_argument("--dry-run", action="store_true", help="only say what it would mean")

    def do_policy(
        self, name: str, to: str, timetable: str | None, dry_run: bool, **options: Any
    ) -> dict[str, Any]:
        from tenants.lifecycle.set_policy import preview, set_policy

        if dry_run:
            change = preview(name, policy=to, timetable=timetable)
            self.refusal = change.refused
            return {"dry_run": True, **asdict(change)}
        set_policy(name, policy=to, timetable=timetable, actor=actor(), tell=self.progress)
        return cell_document(find_cell(name))

    def show_policy(self, document: dict[str, Any]) -> None:
        if document.get("dry_run"):
            writers, then = (", ".join(document[one]) or "nobody" for one in ("writers", "then"))
            self.stdout.write(f"{document['cell']}: {document['was']} → {document['policy']}")
            self.stdout.write(f"Written by {writers} → {then}. {document['reason']}")
            if document["dark"]:
                self.stdout.write(self.style.WARNING(document["dark"]))
            return
        self.stdout.write(f"{document['name']} is {document['policy']}.")
        if document["turn"]:
            self.stdout.write(document["turn"]["reason"])
