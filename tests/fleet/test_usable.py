"""A tenant is usable in each of its lawful regions when the command returns, over slow links.

It comes after the story of `test_story.py`, which counts what there is in the regions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from tests.fleet.conftest import Fleet

REGIONS = ("eu-west", "eu-central", "us-east")
LATENCY_MS = "150"
DOORS = (*REGIONS, "edge")
# The first one of a mode makes the cell; the next finds it, and takes a few milliseconds.
ONBOARDED = {"shared": ("first", "next"), "schema": ("first", "next"), "dedicated": ("first",)}
USED = {"read": 200, "write": 201}
# The writer's region takes the write; the others say whose it is.
ELSEWHERE = {"read": 200, "write": 421}


@pytest.fixture(scope="module")
def far(fleet: Fleet) -> Iterator[Fleet]:
    """Three regions, 150 ms from each other."""
    for one, other in combinations(REGIONS, 2):
        fleet.run("break", "link", one, other, "--latency", LATENCY_MS)
    yield fleet
    fleet.run("heal", "all")


def onboard(
    fleet: Fleet, slug: str, mode: str, *options: str, policy: str = "active_active"
) -> dict[str, Any]:
    words = ("--mode", mode, "--policy", policy, "--residency", "UNRESTRICTED")
    everywhere = ("--regions", ",".join(REGIONS))
    done = fleet.python("-m", "tests.fleet.at_once", slug, *words, *everywhere, *options)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert set(document["tenant"]["regions"]) == set(REGIONS)
    return document


@pytest.mark.parametrize("mode", ONBOARDED)
def test_its_first_read_and_write_succeed_at_each_regions_own_door(far: Fleet, mode: str):
    for which in ONBOARDED[mode]:
        found = onboard(far, f"near-{mode}-{which}", mode)
        assert found["answers"] == dict.fromkeys(DOORS, USED), which


def test_a_command_that_did_not_wait_would_leave_regions_that_do_not_know_it(far: Fleet):
    """Unless the news is faster than whoever asks: it is not each time."""
    tried = (onboard(far, f"hasty-{n}", "shared", "--without-the-wait") for n in range(20))
    assert any(found != USED for one in tried for found in one["answers"].values())


def test_one_with_a_leased_cell_is_read_everywhere_and_written_where_the_lease_is(far: Fleet):
    for which in ("first", "next"):
        found = onboard(far, f"leased-{which}", "shared", policy="active_passive")
        writer = found["tenant"]["writer"]
        assert found["answers"] == dict.fromkeys(REGIONS, ELSEWHERE) | {
            writer: USED,
            "edge": USED,
        }
