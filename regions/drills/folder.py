"""Drills on disk: a folder each, with its state, its timeline while it runs, and its report.

Beside the deployment and not in a cell: a drill may make every cell unwritable.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from regions.deployment import Deployment, Drills
from regions.errors import DrillRefused, UnknownDrill
from regions.mapfile import replace

RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Folder:
    """One run's."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    def write(self, file: str, document: Any) -> None:
        replace(self.path / f"{file}.json", document)

    def read(self, file: str) -> dict[str, Any] | None:
        """None: there is none (yet)."""
        try:
            document: dict[str, Any] = json.loads((self.path / f"{file}.json").read_text())
        except FileNotFoundError:
            return None
        return document

    def happened(self, seconds: float, what: str) -> None:
        with (self.path / "timeline.jsonl").open("a") as file:
            file.write(json.dumps({"seconds": round(seconds, 3), "what": what}) + "\n")

    def timeline(self) -> list[dict[str, Any]]:
        try:
            lines = (self.path / "timeline.jsonl").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    @property
    def halt_asked(self) -> str | None:
        """By whom, or None."""
        try:
            return (self.path / "halt").read_text().strip() or "somebody"
        except FileNotFoundError:
            return None

    def ask_to_halt(self, actor: str) -> None:
        (self.path / "halt").write_text(actor)

    def state(self) -> dict[str, Any]:
        """As it is now: a run whose process has died is `dead`, and not healed."""
        state = self.read("state") or {"state": "unknown"}
        if state["state"] == RUNNING and not psutil.pid_exists(state["pid"]):
            state["state"] = "dead"
        return {"id": self.name, **state}


def drills_of(deployment: Deployment) -> Drills:
    """Raises DrillRefused where nothing can be broken."""
    if deployment.drills is None:
        raise DrillRefused(
            "deployment.json names no tool that breaks things (`drills`): there are no drills here."
        )
    return deployment.drills


def runs(deployment: Deployment) -> list[Folder]:
    """The newest first."""
    folder = drills_of(deployment).folder
    if not folder.is_dir():
        return []
    return [Folder(path) for path in sorted(folder.iterdir(), reverse=True) if path.is_dir()]


def find(deployment: Deployment, name: str | None) -> Folder:
    """The named run, or the newest. Raises UnknownDrill."""
    known = runs(deployment)
    for folder in known:
        if name in (None, folder.name):
            return folder
    raise UnknownDrill(f"There is no run {name!r}." if name else "No drill has been run yet.")


def last_report(deployment: Deployment, scenario: str, cell: str) -> dict[str, Any] | None:
    """That of the newest run of this drill which has one."""
    for folder in runs(deployment):
        report = folder.read("report")
        if report and (report["scenario"], report["cell"]) == (scenario, cell):
            return report
    return None


def new(deployment: Deployment, scenario: str) -> Folder:
    """A folder for a run that begins now."""
    folder = drills_of(deployment).folder
    path = folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{scenario}"
    path.mkdir(parents=True)
    return Folder(path)


@contextmanager
def only_one(deployment: Deployment) -> Iterator[None]:
    """Raises DrillRefused while another drill runs."""
    folder = drills_of(deployment).folder
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DrillRefused("Another drill is running: wait for it, or `drill halt`.") from None
        yield
