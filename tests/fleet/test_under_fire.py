"""A few rounds of `python -m tests.faults.leased`, and its control, on the fleet of these tests.

They come after the story of `test_story.py`, which counts what there is in the regions.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.fleet.state import saved_plan
from tests.faults.leased.control import play_control
from tests.faults.leased.ground import Ground, prepare
from tests.faults.leased.rounds import play
from tests.faults.leased.schedule import Fault
from tests.fleet.conftest import Fleet

SECONDS = 6.0
# The writer goes with its region, and is cut off from both others while its clients reach it.
ROUNDS = {
    "killed": Fault(0.5, 4.0, "kill region", "eu-west", ""),
    "cut off": Fault(0.5, 5.0, "isolate", "eu-central", ""),
}


@pytest.fixture(scope="module")
def ground(fleet: Fleet) -> Iterator[Ground]:
    ground = prepare(saved_plan(fleet.folder), fleet.json)
    yield ground
    # The control cell may have moved: where it was before, for the tests that come after.
    fleet.json("region", "failback", "control")


def nothing(_: str) -> None:
    """A round's verdict says enough."""


@pytest.mark.parametrize("what", ROUNDS)
def test_leased_cells_are_linearizable_have_one_writer_and_lose_nothing(
    ground: Ground, what: str
) -> None:
    number = list(ROUNDS).index(what)
    verdict = play(ground, [ROUNDS[what]], seed=number, seconds=SECONDS, tell=nothing)
    assert verdict.faults == []
    assert verdict.acknowledged > 20


def test_without_the_fence_clients_see_two_writers(ground: Ground) -> None:
    assert play_control(ground, tell=nothing).faults
