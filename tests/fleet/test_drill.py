"""One drill for real: the writer is cut off from everybody, and nobody writes at the same time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fleet.conftest import Fleet


def test_a_writer_that_is_cut_off_is_replaced_and_its_writes_come_back(fleet: Fleet) -> None:
    tenant = fleet.json("tenant", "create", "drilled", "--mode", "shared", "--residency", "EU")
    cell = tenant["cell"]
    # As its schedule runs it. How fast it is depends on the machine; that it is right does not.
    schedule = ("split", "--scenario", "split-brain", "--cell", cell, "--rto", "30")
    fleet.json("drill", "schedule", *schedule, "--at", "0 3 1 1 *")
    (outcome,) = fleet.json("drill", "rehearse", "split")
    assert outcome["outcome"] == "passed", outcome
    report: dict[str, Any] = fleet.json("drill", "report", outcome["id"])
    (target,) = (move["to"] for move in report["moves"] if move["cell"] == cell)
    assert (report["to"], report["passed"]) == (target, True)
    assert report["missing_after_healing"] == 0
    assert {"never two writers", "the writer moves"} <= {one["name"] for one in report["checks"]}
    kept = fleet.json("drill", "report")
    assert kept["id"] == report["id"]
    assert "never two writers" in Path(kept["page"]).read_text()
    (schedule_now,) = fleet.json("drill", "schedules")
    assert schedule_now["outcomes"] == [outcome]
    fleet.json("drill", "unschedule", "split")
    # Where it was before, for the tests that come after.
    fleet.json("region", "failback", cell)
