"""A client's session goes from region to region over a slow link, and never back in time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fleet.conftest import Fleet
from tests.fleet.test_story import TICKETS, eventually, post

HEADER = "x-consistency"
REGIONS = ("eu-west", "eu-central")


@pytest.fixture(scope="module")
def far(fleet: Fleet) -> Iterator[dict[str, Any]]:
    """A tenant whose two regions are 600 ms from each other."""
    tenant = fleet.json("tenant", "create", "roaming", "--mode", "shared", "--residency", "EU")
    fleet.run("break", "link", *REGIONS, "--latency", "600")
    yield tenant
    fleet.run("heal", "link", *REGIONS)


def read(fleet: Fleet, tenant: dict[str, Any], ticket: int, at: str, token: str = "") -> Any:
    return fleet.request(
        "GET",
        f"{TICKETS}/{ticket}",
        host=tenant["host"],
        token=tenant["api_token"],
        at=at,
        headers={HEADER: token} if token else {},
    )


def test_a_session_reads_its_writes_in_the_other_region_and_goes_back(
    fleet: Fleet, far: dict[str, Any]
) -> None:
    doors = {name: fleet.region(name)["web"] for name in REGIONS}
    token = "session"
    missed = 0
    # On a busy machine what is written may be there before anybody looks; not each time.
    for number in range(30):
        if number > 2 and missed:
            break
        written = post(fleet, far, f"w{number}", headers={HEADER: token})
        assert written.status_code == 201, written.text
        (other,) = set(REGIONS) - {written.headers["x-region"]}
        ticket = written.json()["id"]
        # Who sends no token may not find it yet.
        missed += read(fleet, far, ticket, doors[other]).status_code == 404
        token = written.headers[HEADER]

        def seen(ticket: int = ticket, at: str = doors[other], carried: str = token) -> Any:
            answer = read(fleet, far, ticket, at, carried)
            assert answer.status_code in (200, 503), answer.text  # never without the write
            return answer.status_code == 200 and answer

        answer = eventually(seen)
        assert answer.headers["x-region"] == other
        assert float(answer.headers["x-staleness"]) > 0
        token = answer.headers[HEADER]
    assert missed
    through_edge = read(fleet, far, ticket, "", token)
    assert through_edge.status_code == 200
    assert through_edge.headers[HEADER]


def test_the_edge_takes_a_session_to_the_writer_when_its_region_is_cut_off(
    fleet: Fleet, far: dict[str, Any]
) -> None:
    fleet.run("break", "link", *REGIONS)  # what is written now can't arrive
    written = post(fleet, far, "far away", headers={HEADER: "session"})
    assert written.status_code == 201, written.text
    writer = written.headers["x-region"]
    (other,) = set(REGIONS) - {writer}
    path = f"{TICKETS}/{written.json()['id']}"

    def ask(**more: str) -> Any:
        carried = {HEADER: written.headers[HEADER], **more}
        door = {"host": far["host"], "token": far["api_token"], "at": fleet.region(other)["web"]}
        return fleet.request("GET", path, headers=carried, **door)

    direct = ask()
    assert (direct.status_code, direct.json()["type"].rpartition(":")[2]) == (503, "behind")
    handed = ask(**{"x-meridian-edge": "1"})
    assert handed.status_code == 307
    assert handed.headers["x-replay-region"] == f"region_{writer.replace('-', '_')}"
