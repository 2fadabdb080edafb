"""`manage.py cell migrate`: its options, its refusals, its report.

Other verbs of `cell` do not wait for what only this one needs.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from regions.cli import VerbCommand
from regions.current import deployment
from regions.deployment import CONTROL_CELL
from regions.models import Cell
from regions.topology import CellSpec
from tenants.databases import control_writer_alias
from tenants.errors import InvalidRequest
from tenants.management.actor import actor
from tenants.management.migrate_shown import show_plan, show_report, show_status
from tenants.rollout.waves import Pace, Share
from tenants.seams import find_cell, spec_for

if TYPE_CHECKING:
    from tenants.rollout.planning import Options

BAD_USAGE = 2


class MigrateVerb(VerbCommand):
    """The verb `migrate` of `cell`."""

    def add_migrate(self, parser: ArgumentParser) -> None:
        pace = Pace()
        parser.add_argument("cells", nargs="*", metavar="CELL")
        parser.add_argument("--all", action="store_true", dest="every", help="all cells")
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--plan", action="store_true", dest="dry", help="only say what would be done"
        )
        what.add_argument("--status", action="store_true", help="the last runs, and who is behind")
        what.add_argument("--resume", action="store_true", help="take up the last run again")
        parser.add_argument(
            "--sql",
            action="store_true",
            help="with --plan: the SQL (it is run for one tenant and rolled back)",
        )
        parser.add_argument(
            "--canary",
            type=_share,
            default=pace.canary,
            metavar="N|P%%",
            help=f"so many must succeed before the rest begins ({_shown(pace.canary)})",
        )
        parser.add_argument(
            "--wave",
            type=_share,
            default=pace.wave,
            metavar="N|P%%",
            help=f"so many are handed out at once ({_shown(pace.wave)})",
        )
        parser.add_argument(
            "--halt-after",
            type=_share,
            default=pace.halt_after,
            metavar="N|P%%",
            help=f"more failures than this end the run ({_shown(pace.halt_after)})",
        )
        parser.add_argument(
            "--parallel",
            type=_count,
            default=4,
            metavar="N",
            help="workers, each with one connection a replica (4)",
        )
        parser.add_argument(
            "--lock-timeout",
            type=_seconds,
            default=1.0,
            metavar="S",
            help="so long may others queue up behind a change of structure (1)",
        )
        parser.add_argument(
            "--attempts",
            type=_count,
            default=10,
            metavar="N",
            help="how often a lock is tried for (10)",
        )
        parser.add_argument(
            "--contract",
            action="store_true",
            help="also what old code could not bear: no process runs it any more",
        )
        parser.add_argument(
            "--without",
            default="",
            metavar="REGIONS",
            help="leave these regions' part for a later run",
        )
        parser.add_argument(
            "--level",
            action="store_true",
            help="bring replicas to one that somebody migrated by hand",
        )
        parser.add_argument(
            "--retry-quarantined", action="store_true", help="try those again that failed"
        )

    def do_migrate(self, **options: Any) -> dict[str, Any]:
        from tenants.rollout import documents
        from tenants.rollout.planning import plan
        from tenants.rollout.run import run
        from tenants.rollout.sql import render_plan
        from tenants.rollout.watching import watching

        if options["status"]:
            return documents.status_document(options["cells"])
        wanted = self._options(**options)
        if options["dry"]:
            planned = plan(wanted)
            rendered = render_plan(planned, wanted) if options["sql"] else {}
            return documents.plan_document(planned, wanted, rendered)
        if CONTROL_CELL in options["cells"]:
            return self._migrate_control()
        with watching(sys.stderr, self.progress) as watch:
            report = run(wanted, actor=actor(), watch=watch)
        if not report.complete:
            self.refusal = _said(report.halted, len(report.works) - report.count("done"))
        return documents.report_document(report)

    def show_migrate(self, document: dict[str, Any]) -> None:
        if "runs" in document:
            show_status(self, document)
        elif "dry_run" in document:
            show_plan(self, document)
        else:
            show_report(self, document)

    def _options(self, **options: Any) -> Options:
        from tenants.rollout.carry_out import Manner
        from tenants.rollout.planning import Options

        if options["sql"] and not options["dry"]:
            raise CommandError("--sql goes with --plan.", returncode=BAD_USAGE)
        without = tuple(name.strip() for name in options["without"].split(",") if name.strip())
        for region in without:
            deployment().region(region)
        return Options(
            cells=self._cells(**options),
            pace=Pace(options["canary"], options["wave"], options["halt_after"]),
            manner=Manner(options["lock_timeout"], options["attempts"]),
            parallel=options["parallel"],
            contract=options["contract"],
            retry_quarantined=options["retry_quarantined"],
            without=without,
            level=options["level"],
            resume=options["resume"],
        )

    def _cells(self, cells: list[str], every: bool, **_: Any) -> tuple[CellSpec, ...]:
        if bool(cells) == every:
            raise CommandError("Name cells, or say --all.", returncode=BAD_USAGE)
        using = control_writer_alias()
        if every:
            rows = Cell.objects.using(using).prefetch_related("replicas")
            rows = rows.filter(state=Cell.State.READY).exclude(mode=Cell.Mode.CONTROL)
            specs = [spec_for(row) for row in rows]
            return tuple(spec for spec in specs if spec.regions)
        if cells == [CONTROL_CELL]:
            return ()
        named = [find_cell(name, using=using) for name in dict.fromkeys(cells)]
        for row in named:
            if row.mode == Cell.Mode.CONTROL:
                raise InvalidRequest("The control cell is migrated by itself: name no other cell.")
            if row.state != Cell.State.READY:
                raise InvalidRequest(f"Cell {row.name!r} is not ready yet.")
        return tuple(spec_for(row) for row in named)

    def _migrate_control(self) -> dict[str, Any]:
        from regions import bootstrap

        bootstrap.databases(deployment(), progress=self.progress)
        return {"state": "done", "cells": [CONTROL_CELL]}


def _said(halted: str, left: int) -> str:
    why = f"Halted: {halted}. " if halted else ""
    return f"{why}{left} not migrated: see `cell migrate --status`, mend the cause, run it again."


def _shown(share: Share) -> str:
    return str(share).replace("%", "%%")


def _share(text: str) -> Share:
    try:
        return Share.parse(text)
    except InvalidRequest as error:
        raise ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise ArgumentTypeError(f"{text!r} is no number from 1 to 100.")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.01 <= seconds <= 600:
        raise ArgumentTypeError(f"{text!r} is no number of seconds from 0.01 to 600.")
    return seconds
