"""`manage.py drill VERB`: break something on purpose, measure what comes of it."""

from __future__ import annotations

import os
import signal
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any, ClassVar

from regions.cli import VerbCommand
from regions.current import deployment
from regions.drills import folder as folders
from regions.drills.folder import Folder
from regions.drills.run import halt
from regions.drills.scenarios import SCENARIOS
from tenants.drilling import Wish, begin_drill, drill_list, plan_drill
from tenants.errors import TenantsError
from tenants.management.actor import actor
from tenants.management.drill_schedules import (
    SCHEDULE_VERBS,
    ScheduleVerbs,
    add_by,
    add_objectives,
)


class Command(ScheduleVerbs):
    help = "Drills: break something on purpose, watch, heal, and report against objectives"
    platform_errors = (TenantsError, *VerbCommand.platform_errors)
    verbs: ClassVar[dict[str, str]] = {
        "list": "the scenarios, and how each went last",
        "run": "run a scenario; exit status 1 when an objective was missed",
        "report": "what a run has found (default: the newest)",
        "halt": "end the run that is under way, and heal everything",
        **SCHEDULE_VERBS,
    }

    def do_list(self) -> list[dict[str, Any]]:
        return drill_list()

    def show_list(self, document: list[dict[str, Any]]) -> None:
        self.table(
            ("scenario", "what happens", "the writer", "last run"),
            (
                (one["scenario"], one["title"], one["expects"], _outcome(one["last"]))
                for one in document
            ),
        )

    def add_run(self, parser: ArgumentParser) -> None:
        parser.add_argument("scenario", choices=list(SCENARIOS))
        parser.add_argument("--cell", help="whose writer is hit (default: one with most regions)")
        parser.add_argument(
            "--dry-run", action="store_true", help="only say what would happen, and to whom"
        )
        parser.add_argument(
            "--real-tenants", action="store_true", help="also if customers would notice"
        )
        add_objectives(parser)
        add_by(parser)
        parser.add_argument(
            "--detach", action="store_true", help="return at once; `report` tells the rest"
        )

    def do_run(self, dry_run: bool, detach: bool, by: str | None, **wish: Any) -> dict[str, Any]:
        wanted = Wish(**wish)
        if dry_run:
            return {"dry_run": True, **plan_drill(wanted)[0].document()}
        folder, carry_out = begin_drill(wanted, actor=by or actor())
        if detach:
            return _detached(folder, carry_out)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        report = carry_out(self.progress)
        if not report["passed"]:
            missed = [check["name"] for check in report["checks"] if not check["passed"]]
            self.refusal = f"{folder.name} failed: {', '.join(missed)}."
        return report

    def show_run(self, document: dict[str, Any]) -> None:
        if document.get("dry_run"):
            self._show_plan(document)
        elif "checks" in document:
            self._show_report(document)
        else:
            self.stdout.write(f"{document['id']}: {document['state']}")
            for moment in document.get("timeline", ()):
                self.stdout.write(f"{moment['seconds']:8.3f} s  {moment['what']}")

    def add_report(self, parser: ArgumentParser) -> None:
        parser.add_argument("run", nargs="?", metavar="ID")

    def do_report(self, run: str | None) -> dict[str, Any]:
        folder = folders.find(deployment(), run)
        report = folder.read("report")
        if report is None:
            return {**folder.state(), "timeline": folder.timeline()}
        return {**report, "page": str(folder.path / "report.html")}

    show_report = show_run

    def add_halt(self, parser: ArgumentParser) -> None:
        parser.add_argument("run", nargs="?", metavar="ID")

    def do_halt(self, run: str | None) -> dict[str, Any]:
        where = deployment()
        return halt(where, folders.find(where, run), actor=actor(), tell=self.progress)

    show_halt = show_run

    def _show_plan(self, document: dict[str, Any]) -> None:
        self.stdout.write(
            f"{document['title']} Cell {document['cell']}, its writer: expected "
            f"that it {document['expects']}."
            if document["expects"] != "dark"
            else f"{document['title']} Cell {document['cell']} goes dark meanwhile."
        )
        for step in document["steps"]:
            self.stdout.write(f"{step['after']:6.1f} s  {step['what']}")
        for one in document["moves"]:
            self.stdout.write(f"{one['cell']} → {one['to']}")
        for one in document["dark"]:
            self.stdout.write(self.style.WARNING(f"{one['cell']} goes dark: {one['reason']}"))
        for one in document["stays"]:
            self.stdout.write(f"{one['cell']}: {one['note']}")
        if document["real_tenants"]:
            self.stdout.write(f"Real tenants: {', '.join(document['real_tenants'])}")

    def _show_report(self, document: dict[str, Any]) -> None:
        self.table(
            ("check", "wanted", "found", ""),
            (
                (one["name"], one["wanted"], one["found"], "yes" if one["passed"] else "NO")
                for one in document["checks"]
            ),
        )
        for name, value in document["times"].items():
            self.stdout.write(f"{name:10} {'—' if value is None else f'{value:.3f} s'}")
        self.stdout.write(
            f"RPO {_known(document['rpo_writes'])} writes before healing, "
            f"{_known(document['missing_after_healing'])} after; "
            f"{document['clients']['errors']} errors seen by clients"
        )


def _known(value: object) -> object:
    return "—" if value is None else value


def _outcome(state: dict[str, Any] | None) -> str | None:
    if state is None:
        return None
    passed = {True: "passed", False: "failed", None: ""}[state.get("passed")]
    return f"{state['id']} {state['state']} {passed}".strip()


def _detached(folder: Folder, carry_out: Callable[..., Any]) -> dict[str, Any]:
    """Carried out by a process of its own, which no region's end takes with it."""
    if os.fork():
        return {"id": folder.name, "state": "running"}
    status = 1
    try:
        os.setsid()
        log = os.open(folder.path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for descriptor in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDONLY) if descriptor == 0 else log, descriptor)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        carry_out(lambda _: None)
        status = 0
    finally:
        os._exit(status)  # what the parent has open is the parent's to close
