"""Carries a drill out: breaks what the plan says, watches, heals whatever happens, reports.

It heals when it has run its course, when it is halted, when a stop condition is met, when it is
told to end and when the tool fails. Who kills it heals with `drill halt`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from regions.deployment import AGENT_ROLE, CONTROL_DATABASE, Deployment
from regions.drills import page
from regions.drills.folder import RUNNING, Folder, drills_of, last_report
from regions.drills.plan import Plan
from regions.drills.report import ROUTING_SECONDS, Ack, Objectives, Said, Seen, document
from regions.drills.scenarios import HEAL
from regions.drills.watch import Watch
from regions.errors import DrillRefused, RegionsError
from regions.failover.probes import Probes
from regions.topology import CellSpec

LANES = 4
WARM_UP_SECONDS = 10.0
TOOL_SECONDS = 240.0
LONGEST_SECONDS = 120.0
SILENT_SECONDS = 15.0  # a cell that should go on may be without a writer for so long
SETTLE_SECONDS = 60.0
MOST_OTHERS = 20
_EVENTS = """
SELECT extract(epoch FROM at)::float8, region, action, reason FROM lease.event
 WHERE cell = %s AND at >= to_timestamp(%s) ORDER BY at
"""


class Halted(RegionsError):
    """Something says that the drill must not go on."""


def objectives_for(deployment: Deployment, rto: float | None, rpo: int | None) -> Objectives:
    """What was asked for; without it, the time to live and what it takes to route."""
    return Objectives(rto or deployment.lease_ttl_seconds + ROUTING_SECONDS, rpo or 0)


def use_tool(deployment: Deployment, words: tuple[str, ...]) -> None:
    """Raises DrillRefused with the tool's own sentence."""
    drills = drills_of(deployment)
    tool = [sys.executable if word == "python" else word for word in drills.tool]
    done = subprocess.run(
        [*tool, *words, "--dir", str(drills.folder.parent)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TOOL_SECONDS,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise DrillRefused(f"{' '.join(words)}: {said}")


class Run:
    """One drill, in `folder`."""

    def __init__(
        self,
        deployment: Deployment,
        plan: Plan,
        folder: Folder,
        objectives: Objectives,
        others: tuple[CellSpec, ...],
        *,
        actor: str,
    ) -> None:
        self._deployment = deployment
        self._plan = plan
        self._folder = folder
        self._objectives = objectives
        self._others = others[:MOST_OTHERS]
        self._actor = actor
        self._say: Callable[[str], None] = lambda _: None
        self._began = time.time()
        self._done: list[tuple[float, str]] = []

    def carry_out(self, tell: Callable[[str], None]) -> dict[str, Any]:
        """The report. Everything is healed when this returns or raises."""
        self._say = tell
        self._record(RUNNING)
        self._folder.write("plan", self._plan.document())
        try:
            report = self._watched()
        except BaseException:
            self._record("failed")
            raise
        self._folder.write("report", report)
        (self._folder.path / "report.html").write_text(page.render(report))
        self._record("halted" if report["halted"] else "done", passed=report["passed"])
        return report

    def _watched(self) -> dict[str, Any]:
        cell = self._plan.stage.cell
        last = last_report(self._deployment, self._plan.scenario.name, cell.name)
        # Between the clock that probes are told by and everybody else's.
        offset = time.time() - time.monotonic()
        halted = None
        with (
            Watch(self._deployment, (cell, *self._others), self._tell) as watch,
            Probes(self._deployment, cell, lanes=LANES) as probes,
        ):
            self._await_ack(probes, 0.0, WARM_UP_SECONDS)
            broken = time.time()
            try:
                self._break(watch, broken)
            except Halted as reason:
                halted = str(reason)
            finally:
                missing_then = self._missing_in_writer(probes)
                healing = time.time()
                self._did("everything is being healed")
                use_tool(self._deployment, HEAL)
            self._did("everything is healed")
            self._await_ack(probes, healing - offset, SETTLE_SECONDS)
        seen = Seen(
            began=self._began,
            broken=broken,
            healing=healing,
            ended=time.time(),
            done=self._done,
            acks=sorted(
                (Ack(one.at + offset, one.region) for one in probes.acknowledged()),
                key=lambda one: one.at,
            ),
            refusals=sorted(at + offset for at in probes.refused()),
            gates=watch.gates[cell.name],
            said=self._said(cell),
            missing_then=missing_then,
            missing_after=self._missing_at_last(probes),
            halted=halted,
        )
        return document(self._folder.name, self._plan, seen, self._objectives, last)

    def _break(self, watch: Watch, broken: float) -> None:
        """Raises Halted."""
        try:
            for step in self._plan.steps:
                self._wait_until(broken + step.after, watch, broken)
                use_tool(self._deployment, step.words)
                self._did(step.says)
            self._wait_until(time.time() + self._plan.scenario.lasts, watch, broken)
        except (DrillRefused, subprocess.TimeoutExpired, KeyboardInterrupt) as error:
            raise Halted(str(error) or "interrupted") from error

    def _wait_until(self, moment: float, watch: Watch, broken: float) -> None:
        while True:
            if (who := self._folder.halt_asked) is not None:
                raise Halted(f"{who} asked for it.")
            if time.time() - broken > LONGEST_SECONDS:
                raise Halted(f"It took longer than {LONGEST_SECONDS:g} s.")
            for spec in self._others:
                if watch.silent_for(spec.name) > SILENT_SECONDS:
                    raise Halted(
                        f"{spec.name} should go on, and has had no writer for {SILENT_SECONDS:g} s."
                    )
            left = moment - time.time()
            if left <= 0:
                return
            time.sleep(min(left, 0.2))

    def _await_ack(self, probes: Probes, after: float, patience: float) -> None:
        """After a while it goes on without: the report says so."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if any(ack.at > after for ack in probes.acknowledged()):
                return
            time.sleep(0.05)

    def _missing_in_writer(self, probes: Probes) -> int | None:
        """Of what was acknowledged elsewhere before, in the region that acknowledged last."""
        acks = probes.acknowledged()
        if not acks:
            return None
        try:
            return probes.missing_in(max(acks, key=lambda ack: ack.at).region)
        except psycopg.Error:
            return None

    def _missing_at_last(self, probes: Probes) -> int | None:
        """In the region that lacks most, once it has had time to catch up."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            try:
                missing = max(probes.missing_in(name) for name in self._plan.stage.cell.regions)
            except psycopg.Error:
                missing = None
            if missing == 0 or time.monotonic() > deadline:
                return missing
            time.sleep(0.5)

    def _said(self, cell: CellSpec) -> list[Said]:
        said = []
        for region in self._deployment.regions:
            dsn = self._deployment.dsn(region, CONTROL_DATABASE, AGENT_ROLE)
            try:
                with psycopg.connect(dsn, connect_timeout=5) as connection:
                    rows = connection.execute(_EVENTS, (cell.name, self._began)).fetchall()
            except psycopg.Error:
                continue
            said += [Said(*row) for row in rows]
        return sorted(said, key=lambda one: one.at)

    def _did(self, what: str) -> None:
        self._done.append((time.time(), what))
        self._tell(what)

    def _tell(self, what: str) -> None:
        self._folder.happened(time.time() - self._began, what)
        self._say(what)

    def _record(self, state: str, **more: Any) -> None:
        self._folder.write(
            "state",
            {
                "state": state,
                "scenario": self._plan.scenario.name,
                "cell": self._plan.stage.cell.name,
                "actor": self._actor,
                "began": self._began,
                "pid": os.getpid(),
                **more,
            },
        )


def halt(
    deployment: Deployment, folder: Folder, *, actor: str, tell: Callable[[str], None]
) -> dict[str, Any]:
    """End a run, and heal: by its own process, or from here if that has died or does not react."""
    folder.ask_to_halt(actor)
    tell(f"{folder.name} is asked to halt and heal")
    deadline = time.monotonic() + TOOL_SECONDS
    while folder.state()["state"] == RUNNING and time.monotonic() < deadline:
        time.sleep(0.2)
    if folder.state()["state"] in (RUNNING, "dead", "failed"):
        tell("its process is gone: healing from here")
        use_tool(deployment, HEAL)
        known = folder.read("state") or {}
        folder.write("state", {**known, "state": "halted"})
    return folder.state()
