"""A region is emptied, stands aside while it is worked on, and gets its cells back."""

from __future__ import annotations

from typing import Any

from tests.fleet.conftest import Fleet

HOME = "eu-west"


def region(fleet: Fleet) -> dict[str, Any]:
    return next(one for one in fleet.json("region", "list") if one["name"] == HOME)


def test_a_region_is_emptied_for_maintenance_and_filled_again(fleet: Fleet) -> None:
    fleet.json("region", "failback", "--region", HOME)  # earlier tests may have left it nothing
    planned = fleet.json("region", "maintenance", HOME, "--dry-run")
    moving = {one["cell"] for one in planned["cells"]}
    emptied = fleet.json("region", "maintenance", HOME)
    try:
        assert {one["cell"] for one in emptied["cells"]} == moving
        assert (emptied["rpo_writes"], emptied["failed"], emptied["left"]) == (0, [], [])
        now = region(fleet)
        # What every region writes goes on being written here, too.
        assert (moving & set(now["writes"]), now["aside"]) == (set(), True)
        # Nobody breaks anything meanwhile without being asked to.
        schedule = ("worked-on", "--scenario", "cut-link", "--cell", emptied["cell"])
        fleet.json("drill", "schedule", *schedule, "--at", "0 3 1 1 *")
        (passed_over,) = fleet.json("drill", "rehearse", "worked-on")
        fleet.json("drill", "unschedule", "worked-on")
        assert passed_over["outcome"] == "skipped"
        assert passed_over["reason"] == f"Maintenance: {HOME} stands aside."
    finally:
        fleet.json("region", "maintenance", HOME, "--end")
    back = fleet.json("region", "failback", "--region", HOME)
    assert {one["cell"] for one in back["cells"]} >= moving
    assert back["rpo_writes"] == 0
    assert region(fleet)["aside"] is False
