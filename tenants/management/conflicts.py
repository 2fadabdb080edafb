"""The verbs of `manage.py tenant` that show the conflict ledger and bring lost values back."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import Error

from regions.cli import VerbCommand, one_line
from tenants.conflicts.entries import KINDS, MOST, Cursor, Wanted
from tenants.errors import RestoreRefused
from tenants.management.actor import actor

SHOWN = ("written_at", "region", "value")


class ConflictVerbs(VerbCommand):
    """`conflicts` and `restore`."""

    def add_conflicts(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", metavar="SLUG")
        parser.add_argument("--id", type=_id, help="only this entry")
        parser.add_argument("--table", help="of this table only, as desk_ticket")
        parser.add_argument("--kind", choices=KINDS, help="why the value lost")
        parser.add_argument("--since", type=_moment, help="from this time on (ISO 8601)")
        parser.add_argument("--until", type=_moment, help="before this time")
        parser.add_argument("--limit", type=int, default=50, help=f"a page, at most {MOST} (50)")
        parser.add_argument("--after", metavar="NEXT", help="the page after: `next` of the last")
        _at(parser)

    def do_conflicts(self, slug: str, at: str | None, **options: Any) -> dict[str, Any]:
        from tenants.lifecycle.conflicts import show_conflicts

        wanted = Wanted(
            id=options["id"],
            table=options["table"],
            kind=options["kind"],
            since=options["since"],
            until=options["until"],
            after=Cursor.read(options["after"]) if options["after"] else None,
            most=options["limit"],
        )
        page = show_conflicts(slug, wanted, at=at, actor=actor())
        return {"tenant": slug, **page.document()}

    def show_conflicts(self, document: dict[str, Any]) -> None:
        self.table(
            ("id", "table", "key", "field", "lost", "written in", "to", "rule", "restored"),
            (
                (
                    one["id"],
                    one["table"],
                    ", ".join(one["key"].values()),
                    one["field"],
                    one["loser"]["value"],
                    one["loser"]["region"],
                    one["winner"]["value"],
                    one["rule"],
                    one["restored"]["at"] if one["restored"] else None,
                )
                for one in document["items"]
            ),
        )
        if document["next"]:
            self.stdout.write(f"More with --after {document['next']}")
        if document["unreachable"]:
            lacking = ", ".join(document["unreachable"])
            self.stderr.write(f"{lacking} did not answer: entries may be missing")

    def add_restore(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", metavar="SLUG")
        parser.add_argument("id", metavar="ID", type=_id, help="of an entry of `conflicts`")
        _at(parser)

    def do_restore(self, slug: str, id: UUID, at: str | None, **options: Any) -> dict[str, Any]:
        from tenants.lifecycle.conflicts import restore_conflict

        try:
            done = restore_conflict(slug, id, at=at, actor=actor())
        except Error as error:
            raise RestoreRefused(f"It cannot come back: {one_line(error)}") from error
        return {"tenant": slug, "id": str(id), "restored": done, "already": not done}

    def show_restore(self, document: dict[str, Any]) -> None:
        what = "was restored before" if document["already"] else "is restored"
        self.stdout.write(f"{document['id']} {what}.")


def _at(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--at",
        metavar="REGION",
        help="where you are: you see what its law lets you see (default: the cell's home)",
    )


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no id") from None


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no time: write 2026-11-30T08:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
