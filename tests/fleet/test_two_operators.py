"""Two operators press at once, or one whose command is killed half-way: a cell is whole after."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from infra.fleet.state import REPOSITORY
from tests.fleet.conftest import Fleet
from tests.fleet.test_story import eventually, post

PATIENCE = 60.0
SUN = "eu-west 08:00 UTC, eu-central 20:00 UTC"


@pytest.fixture(scope="module")
def tenant(fleet: Fleet) -> Any:
    return fleet.json("tenant", "create", "two-hands", "--mode", "dedicated", "--residency", "EU")


def show(fleet: Fleet, tenant: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = fleet.json("cell", "show", tenant["cell"])
    return shown


def at_once(fleet: Fleet, *commands: tuple[str, ...]) -> list[subprocess.CompletedProcess[str]]:
    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(lambda words: fleet.manage(*words, "--json", check=False), commands))


def is_whole(fleet: Fleet, tenant: dict[str, Any]) -> None:
    """As many gates are open as the policy says, and clients write."""

    def gates() -> bool:
        shown = show(fleet, tenant)
        writable = sum(one["writable"] for one in shown["replicas"])
        return writable == (2 if shown["policy"] == "active_active" else 1)

    eventually(gates, PATIENCE)
    eventually(lambda: post(fleet, tenant, "whole").status_code == 201, PATIENCE)


def test_the_same_operation_twice_at_once_moves_a_cell_once_and_loses_nothing(
    fleet: Fleet, tenant: dict[str, Any]
) -> None:
    cell, away = tenant["cell"], tenant["regions"][1]
    words = ("region", "switchover", cell, "--to", away)
    for done in at_once(fleet, words, words):
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["rpo_writes"] == 0
    assert show(fleet, tenant)["writer"] == away
    is_whole(fleet, tenant)
    planned = fleet.json("region", "failover", away, "--dry-run")["cells"]
    (known,) = (one["behind_seconds"] for one in planned if one["cell"] == cell)
    assert known is not None, "what may be lost is said before"


def test_opposite_wishes_at_once_leave_one_writer(fleet: Fleet, tenant: dict[str, Any]) -> None:
    cell, (home, away) = tenant["cell"], tenant["regions"]
    done = at_once(
        fleet,
        ("region", "switchover", cell, "--to", away),
        ("region", "failback", cell),
    )
    assert any(one.returncode == 0 for one in done), [one.stderr for one in done]
    assert show(fleet, tenant)["writer"] in (home, away)
    is_whole(fleet, tenant)


def test_two_policies_at_once_come_to_one_of_them(fleet: Fleet, tenant: dict[str, Any]) -> None:
    change = ("cell", "policy", tenant["cell"], "--to")
    done = at_once(
        fleet, (*change, "active_active"), (*change, "follow_the_sun", "--timetable", SUN)
    )
    assert any(one.returncode == 0 for one in done), [one.stderr for one in done]
    is_whole(fleet, tenant)
    assert show(fleet, tenant)["policy"] in ("active_active", "follow_the_sun")


def test_a_change_of_policy_that_is_killed_is_finished_by_the_agents(
    fleet: Fleet, tenant: dict[str, Any]
) -> None:
    words = ["manage.py", "cell", "policy", tenant["cell"], "--to", "active_passive"]
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=REPOSITORY,
        env=fleet.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr
        for line in process.stderr:
            if "→" in line:  # within its transaction, or just after it
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    is_whole(fleet, tenant)
    assert fleet.json(*words[1:])["policy"] == "active_passive"
    is_whole(fleet, tenant)
