"""Drills for real, as the runbook has them: what was broken is healed, and the report tells it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.conftest import Fleet
from tests.fleet.test_story import eventually

# How fast it is depends on the machine; that it is right does not.
RTO = {"moves": "60", "stays": "60", "dark": "8"}
PLAYED = {"split-brain": "moves", "freeze-database": "moves", "lose-quorum": "dark",
          "lose-jurisdiction": "dark"}  # fmt: skip
REHEARSED = "one-way-cut"
# A machine that stalls may cost a writer its lease: that is tried again, and nothing else is.
STALLED = {"the writer moves", "the writer stays", "in time", "it ran to its end"}
TRIES = 3
TIMES = ("detection", "decision", "promotion", "routing", "rto")


@pytest.fixture(scope="module")
def cell(fleet: Fleet) -> Iterator[str]:
    tenant = fleet.json("tenant", "create", "drilled", "--mode", "shared", "--residency", "EU")
    yield str(tenant["cell"])
    # All cells, for the tests that come after.
    home = ("region", "failback", "--region", "eu-west")
    eventually(lambda: fleet.manage(*home, check=False).returncode == 0)


def failed(report: dict[str, Any]) -> set[str]:
    """Checks."""
    return {check["name"] for check in report["checks"] if not check["passed"]}


def nothing_is_broken(fleet: Fleet) -> bool:
    now = fleet.status()
    return {link["state"] for link in now["links"]} == {"up"} and all(
        region["up"] for region in now["regions"]
    )


def is_as_it_should_be(report: dict[str, Any], expects: str) -> None:
    assert (report["expects"], report["passed"], report["halted"]) == (expects, True, None), report
    assert report["missing_after_healing"] == 0
    assert report["clients"]["acknowledged"] > 0
    known = {name for name in TIMES if report["times"][name] is not None}
    assert known == {"moves": set(TIMES), "stays": {"rto"}, "dark": set()}[expects]
    names = {check["name"] for check in report["checks"]}
    assert {"never two writers", "only lawful regions write", "nothing is lost"} < names
    cell, writer = report["cell"], report["writer"]
    if expects == "moves":
        assert report["to"] == next(one["to"] for one in report["moves"] if one["cell"] == cell)
        assert report["rpo_writes"] is not None
        assert report["rto_seconds"] == report["times"]["routing"]
    elif expects == "dark":
        assert {"nobody writes", "writes go on once it is healed"} < names
        assert cell in {one["cell"] for one in report["dark"]}
    else:
        assert report["to"] == writer
    assert "never two writers" in Path(report["page"]).read_text()


def test_a_schedule_runs_a_drill_and_remembers_what_came_of_it(fleet: Fleet, cell: str) -> None:
    schedule = ("nightly", "--scenario", REHEARSED, "--cell", cell, "--rto", RTO["stays"])
    fleet.json("drill", "schedule", *schedule, "--at", "0 3 1 1 *")

    def rehearsed() -> dict[str, Any]:
        done = fleet.manage("drill", "rehearse", "nightly", "--json", check=False)
        (outcome,) = json.loads(done.stdout)
        assert outcome["outcome"] != "skipped", outcome  # a replica may be behind
        return dict(outcome)

    for _ in range(TRIES):
        outcome = eventually(rehearsed)
        report = fleet.json("drill", "report", outcome["id"])
        assert outcome["outcome"] == ("passed" if report["passed"] else "failed")
        assert failed(report) <= STALLED, report
        if report["passed"]:
            break
    is_as_it_should_be(report, "stays")
    (schedule_now,) = fleet.json("drill", "schedules")
    assert schedule_now["outcomes"] == [outcome]
    fleet.json("drill", "unschedule", "nightly")


@pytest.mark.parametrize("scenario", PLAYED)
def test_what_is_broken_on_purpose_goes_as_it_should_and_is_healed(
    fleet: Fleet, cell: str, scenario: str
) -> None:
    words = ("--cell", cell, "--rto", RTO[PLAYED[scenario]])
    for _ in range(TRIES):
        eventually(lambda: fleet.json("cell", "show", cell)["writer"])
        done = fleet.manage("drill", "run", scenario, *words, check=False)
        report: dict[str, Any] = fleet.json("drill", "report")
        assert (report["scenario"], report["cell"]) == (scenario, cell), done.stderr
        assert done.returncode == (0 if report["passed"] else 1), done.stderr
        assert failed(report) <= STALLED, report
        if report["passed"]:
            break
    is_as_it_should_be(report, PLAYED[scenario])
    eventually(lambda: nothing_is_broken(fleet))


@pytest.mark.parametrize("alive", [True, False], ids=["alive", "dead"])
def test_a_drill_that_is_halted_is_healed_whether_its_process_lives_or_not(
    fleet: Fleet, cell: str, alive: bool
) -> None:
    begun = fleet.json("drill", "run", "slow-wan", "--cell", cell, "--detach")
    eventually(lambda: {link["state"] for link in fleet.status()["links"]} == {"slow"})
    if not alive:
        state = json.loads((fleet.folder / "drills" / begun["id"] / "state.json").read_text())
        os.kill(state["pid"], signal.SIGKILL)
    assert fleet.json("drill", "halt", begun["id"])["state"] == "halted"
    report = fleet.json("drill", "report", begun["id"])
    assert report["halted"].endswith("asked for it.") if alive else report["state"] == "halted"
    eventually(lambda: nothing_is_broken(fleet))
