"""`manage.py drill schedule|schedules|unschedule|rehearse`: drills that run by themselves."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from typing import Any

from regions.cli import VerbCommand
from regions.drills.scenarios import SCENARIOS
from regions.errors import UnknownDrill
from tenants.databases import control_writer_alias
from tenants.drill_schedules import document, schedule_drill, unschedule_drill
from tenants.management.actor import actor
from tenants.models import DrillSchedule
from tenants.rehearsing import FAILED, rehearse

SCHEDULE_VERBS = {
    "schedule": "have a scenario run by itself, on cells of tenants made for drills",
    "schedules": "what runs by itself when, and what came of it last",
    "unschedule": "remove a schedule",
    "rehearse": "run what a schedule says now; cells that are not fit are passed over",
}


def add_objectives(parser: ArgumentParser) -> None:
    parser.add_argument("--rto", type=float, metavar="SECONDS", help="objective: the longest pause")
    parser.add_argument(
        "--rpo", type=int, metavar="WRITES", help="objective: missing once healed (0)"
    )


def add_by(parser: ArgumentParser) -> None:
    parser.add_argument("--by", help="for the audit trail (default: who runs the command)")


class ScheduleVerbs(VerbCommand):
    """The verbs of schedules."""

    def add_schedule(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--scenario", required=True, choices=list(SCENARIOS))
        parser.add_argument(
            "--cell",
            dest="cells",
            action="append",
            required=True,
            help="whose writer is hit; several are drilled one after the other",
        )
        parser.add_argument(
            "--at",
            dest="timetable",
            required=True,
            metavar="TIMETABLE",
            help="MINUTE HOUR DAY MONTH WEEKDAY in UTC, as in '0 3 * * mon'",
        )
        add_objectives(parser)

    def do_schedule(self, name: str, **what: Any) -> dict[str, Any]:
        return document(schedule_drill(name, actor=actor(), **what))

    def show_schedule(self, one: dict[str, Any]) -> None:
        self.show_schedules([one])

    def do_schedules(self) -> list[dict[str, Any]]:
        return [document(one) for one in DrillSchedule.objects.using(control_writer_alias())]

    def show_schedules(self, found: list[dict[str, Any]]) -> None:
        self.table(
            ("schedule", "scenario", "cells", "timetable", "next", "last"),
            (
                (
                    one["name"],
                    one["scenario"],
                    ", ".join(one["cells"]),
                    one["timetable"],
                    one["next"],
                    "; ".join(map(_told, one["outcomes"])) or None,
                )
                for one in found
            ),
        )

    def add_unschedule(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")

    def do_unschedule(self, name: str) -> dict[str, Any]:
        if not unschedule_drill(name, actor=actor()):
            raise UnknownDrill(f"No schedule is called {name!r}.")
        return {"name": name, "removed": True}

    def show_unschedule(self, gone: dict[str, Any]) -> None:
        self.stdout.write(f"{gone['name']} does not run any more.")

    def add_rehearse(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")
        add_by(parser)

    def do_rehearse(self, name: str, by: str | None) -> list[dict[str, Any]]:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        outcomes = rehearse(name, actor=by or actor(), tell=self.progress)
        if failed := [one for one in outcomes if one["outcome"] == FAILED]:
            self.refusal = f"{name} failed: {'; '.join(map(_told, failed))}."
        return outcomes

    def show_rehearse(self, outcomes: list[dict[str, Any]]) -> None:
        for one in outcomes:
            self.stdout.write(_told(one))


def _told(one: dict[str, Any]) -> str:
    reason = f" ({one['reason']})" if one["reason"] else ""
    return f"{one['cell']} {one['outcome']}{reason}"
