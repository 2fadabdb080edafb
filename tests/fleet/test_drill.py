"""One drill for real: the writer is cut off from everybody, and nobody writes at the same time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fleet.conftest import Fleet
from tests.fleet.test_story import eventually


def test_a_writer_that_is_cut_off_is_replaced_and_its_writes_come_back(fleet: Fleet) -> None:
    tenant = fleet.json("tenant", "create", "drilled", "--mode", "shared", "--residency", "EU")
    cell = tenant["cell"]
    eventually(lambda: fleet.json("cell", "show", cell)["writer"] is not None)
    before = fleet.json("cell", "show", cell)["writer"]
    plan = fleet.json("drill", "run", "split-brain", "--cell", cell, "--dry-run")
    (target,) = (move["to"] for move in plan["moves"] if move["cell"] == cell)
    # How fast it is depends on the machine; that it is right does not.
    report: dict[str, Any] = fleet.json(
        "drill", "run", "split-brain", "--cell", cell, "--rto", "30"
    )
    assert (report["writer"], report["to"], report["passed"]) == (before, target, True)
    assert report["missing_after_healing"] == 0
    assert {"never two writers", "the writer moves"} <= {one["name"] for one in report["checks"]}
    assert all(link["state"] == "up" for link in fleet.status()["links"])
    kept = fleet.json("drill", "report")
    assert kept["id"] == report["id"]
    assert "never two writers" in Path(kept["page"]).read_text()
    (last,) = (one["last"] for one in fleet.json("drill", "list") if one["last"])
    assert (last["id"], last["passed"]) == (report["id"], True)
    # Where it was before, for the tests that come after.
    eventually(lambda: fleet.manage("region", "failback", cell, check=False).returncode == 0, 30)
