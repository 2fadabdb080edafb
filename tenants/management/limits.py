"""The verbs of `manage.py tenant` that look at and change what a tenant may use."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from regions.cli import VerbCommand
from tenants.errors import InvalidRequest
from tenants.limits.assign import assign
from tenants.limits.report import limits_document, usage_document
from tenants.limits.values import NAMES, read_changes
from tenants.management.actor import actor
from tenants.seams import find_tenant


class LimitVerbs(VerbCommand):
    """`limits` and `usage`."""

    def add_limits(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", metavar="SLUG")
        parser.add_argument("--plan", help="give the tenant this plan")
        add_changes(parser)

    def do_limits(
        self, slug: str, plan: str | None, changes: Sequence[str], **options: Any
    ) -> dict[str, Any]:
        if plan is None and not changes:
            return limits_document(find_tenant(slug))
        assign(slug, plan=plan, changes=parse_changes(changes), actor=actor())
        return limits_document(find_tenant(slug))

    def show_limits(self, document: dict[str, Any]) -> None:
        self.stdout.write(f"{document['slug']}: plan {document['plan']}, in each region")
        self.table(
            ("limit", "in force", "of the plan", "of its own"),
            (
                (
                    name,
                    document["limits"][name],
                    document["of_plan"].get(name),
                    document["override"].get(name, "") if name in document["override"] else "",
                )
                for name in NAMES
            ),
        )

    def add_usage(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", metavar="SLUG")
        parser.add_argument("--days", type=int, default=7, help="how far back (default: 7)")

    def do_usage(self, slug: str, days: int, **options: Any) -> dict[str, Any]:
        return usage_document(find_tenant(slug), days=days)

    def show_usage(self, document: dict[str, Any]) -> None:
        counted = ("requests", "refused", "busy_ms", "connections", "rows", "bytes", "files")
        columns = ("day", "region", *counted)
        self.table(columns, ([entry[name] for name in columns] for entry in document["days"]))
        for line in document["advice"]:
            self.stdout.write(line)


def add_changes(parser: ArgumentParser) -> None:
    """`--set NAME=VALUE`, as often as needed."""
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"a number, `unlimited`, or `plan` for what the plan says; {', '.join(NAMES)}",
    )


def parse_changes(words: Sequence[str]) -> dict[str, int | str | None]:
    """Raises InvalidRequest."""
    pairs = [word.partition("=") for word in words]
    if not all(equals for _, equals, _ in pairs):
        raise InvalidRequest("Write a limit as NAME=VALUE, such as rows=1000.")
    return read_changes({name: value for name, _, value in pairs})
