"""A region dies with its broker and the tasks in it: the next writer does them, each once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fleet.conftest import Fleet
from tests.fleet.test_story import TICKETS, eventually, post

SENT = 6


@pytest.fixture(scope="module")
def busy(fleet: Fleet) -> dict[str, Any]:
    tenant = fleet.json("tenant", "create", "busy", "--mode", "shared", "--residency", "EU")
    fleet.manage("region", "failback", tenant["cell"])
    return tenant


def reminders(fleet: Fleet, tenant: dict[str, Any]) -> list[str]:
    """What the tasks have done, as the region that writes now has it."""
    answer = fleet.request(
        "GET", "/api/desk/comments?limit=1000", host=tenant["host"], token=tenant["api_token"]
    )
    assert answer.status_code == 200, answer.text
    return sorted(one["body"] for one in answer.json()["items"])


def open_tasks(fleet: Fleet, tenant: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = fleet.json("task", "list", "--tenant", tenant["slug"])
    return found


def test_tasks_of_a_lost_region_are_taken_over_and_it_does_not_do_them_again(
    fleet: Fleet, busy: dict[str, Any]
) -> None:
    ticket = post(fleet, busy, "soon")
    (home, other) = (ticket.headers["x-region"], {"eu-west", "eu-central"})
    (other,) = set(other) - {home}
    fleet.run("break", "process", f"{home}:worker", "--how", "freeze")
    for number in range(SENT):
        answer = fleet.request(
            "POST",
            f"{TICKETS}/{ticket.json()['id']}/reminders",
            host=busy["host"],
            token=busy["api_token"],
            headers={"x-durability": "remote"},
            json={"text": f"r{number}"},
        )
        assert (answer.status_code, answer.headers["x-durability"]) == (202, "remote")
    # They are asked for where they may just have arrived.
    waiting = eventually(lambda: (found := open_tasks(fleet, busy))[SENT - 1 :] and found)
    assert [one["task"] for one in waiting] == ["desk.tasks.remind"] * SENT
    assert {one["region"] for one in waiting} == {home}
    assert reminders(fleet, busy) == []
    fleet.run("break", "region", home, "--how", "kill")
    expected = [f"r{number}" for number in range(SENT)]
    eventually(lambda: reminders(fleet, busy) == expected)
    fleet.run("heal", "all")
    # Its broker still has the messages: its worker asks, and is told that they have ended.
    log = fleet.folder / "logs" / f"{other}-worker.log"
    ended = "is not begun: it has ended"
    eventually(lambda: log.read_text().count(ended) >= SENT)
    eventually(lambda: open_tasks(fleet, busy) == [])
    # The region that has come back may answer before it has caught up.
    eventually(lambda: reminders(fleet, busy) == expected)
    assert fleet.json("cell", "verify", busy["cell"])["equal"]
