"""Two operators press at once, or one whose command is killed half-way: a cell is whole after."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from infra.fleet.state import saved_plan
from regions.deployment import load
from regions.drills.report import both_open
from regions.drills.watch import Watch
from regions.topology import read_topology
from tests.fleet.conftest import Fleet
from tests.fleet.test_story import eventually, post

HOME, AWAY = "eu-west", "eu-central"
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

    eventually(gates)
    eventually(lambda: post(fleet, tenant, "whole").status_code == 201)


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
    words = ("cell", "policy", tenant["cell"], "--to", "active_passive")
    committed = "tenants.lifecycle.set_policy:_await_in_force"
    assert fleet.killed_before(committed, *words)
    is_whole(fleet, tenant)
    assert fleet.json(*words)["policy"] == "active_passive"
    is_whole(fleet, tenant)


KNOWN = ("Somebody else", "is being worked on", "has ended its maintenance")
BUSY = ("could not take over",)  # in time: the machine is, and the command may be repeated
# `console`: what its button does, with a verb, a subject and arguments.
AT_ONCE = [
    (
        ("region", "switchover", "control", "--to", AWAY),
        ("console", "switchover", "control", '{"cell": "control", "to": "us-east"}'),
    ),
    (("region", "drain", HOME, "--step", "1"), ("region", "failover", HOME)),
    (("region", "evacuate", HOME), ("region", "failback", "--region", HOME)),
    (
        ("console", "evacuate", HOME, '{"region": "eu-west", "step": 10, "aside": true}'),
        ("region", "failback", "--region", HOME),
    ),
    (("region", "maintenance", HOME), ("region", "maintenance", HOME, "--end")),
]


def press(fleet: Fleet, words: tuple[str, ...]) -> str:
    """Why it was not done; empty: it was."""
    if words[0] != "console":
        done = fleet.manage(*words, "--json", check=False)
        return done.stderr if done.returncode else ""
    done = fleet.python("-m", "tests.fleet.pressed", *words[1:])
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["error"])


def movable(fleet: Fleet) -> list[str]:
    """Cells that HOME writes and another region could."""
    planned = fleet.json("region", "evacuate", HOME, "--dry-run")["cells"]
    return [one["cell"] for one in planned if one["to"]]


def as_before(fleet: Fleet) -> None:
    """For the tests that come after."""
    fleet.manage("region", "maintenance", HOME, "--end")
    home = ("region", "failback", "--region", HOME)
    eventually(lambda: fleet.manage(*home, check=False).returncode == 0)


@pytest.mark.parametrize("wishes", AT_ONCE, ids=lambda wishes: " / ".join(w[1] for w in wishes))
def test_whatever_two_operators_want_at_once_each_cell_has_one_writer_and_both_are_told(
    fleet: Fleet, tenant: dict[str, Any], wishes: tuple[tuple[str, ...], ...]
) -> None:
    place = load(saved_plan(fleet.folder).state / "deployment.json")
    cells = read_topology(place.map_dirs, place.regions).cells.values()
    leased = [spec for spec in cells if spec.policy.leased]
    with Watch(place, leased, lambda _: None) as watch, ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda words: press(fleet, words), wishes))
        is_whole(fleet, tenant)
    assert [both for gates in watch.gates.values() if (both := both_open(gates))] == []
    for why in ended:
        assert not why or any(words in why for words in (*KNOWN, *BUSY)), why
    if wishes[0][0] == "console" and not ended[0]:
        assert movable(fleet) == [], "it stands aside, and nobody has brought it anything"
    # Whatever is left half done, pressing again completes it.
    eventually(lambda: press(fleet, wishes[0]) == "")
    as_before(fleet)
