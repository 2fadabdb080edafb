"""A few rounds of `python -m tests.faults.leased`, with leases in either store, and its control, on
the fleet of these tests and on one whose leases are in etcd.

They come after the story of `test_story.py`, which counts what there is in the regions.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.fleet.state import saved_plan
from testkit.debian import NotToBeHad
from tests.etcd import programs, running
from tests.faults.leased.control import play_control
from tests.faults.leased.ground import Ground, prepare
from tests.faults.leased.rounds import play
from tests.faults.leased.schedule import Fault
from tests.fleet.conftest import Fleet, started
from tests.settings import TEST_GUARD

pytestmark = pytest.mark.fleet

SECONDS = 6.0
# The writer goes with its region, is cut off from both others while its clients reach it, or has
# nobody who could renew its lease.
ROUNDS = {
    "postgres": [
        Fault(0.5, 4.0, "kill region", "eu-west", ""),
        Fault(0.5, 5.0, "isolate", "eu-central", ""),
    ],
    "etcd": [
        Fault(0.5, 4.0, "kill region", "eu-west", ""),
        Fault(0.5, 5.0, "freeze member", "m0", ""),
        Fault(0.5, 4.5, "lose majority", "m0", ""),
    ],
}


@pytest.fixture(scope="module", params=ROUNDS)
def ground(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    if request.param == "postgres":
        fleet: Fleet = request.getfixturevalue("fleet")
        yield prepare(saved_plan(fleet.folder), fleet.json)
        # The control cell may have moved: where it was before, for the tests that come after.
        fleet.json("region", "failback", "control")
        return
    try:
        programs()
    except NotToBeHad as reason:
        pytest.skip(f"NO FLEET WITH LEASES IN ETCD IS TESTED ON THIS MACHINE: {reason}")
    with (
        running(tmp_path_factory.mktemp("etcd"), TEST_GUARD) as etcd,
        started(*[f"--etcd={url}" for url in etcd.urls]) as other,
    ):
        yield prepare(saved_plan(other.folder), other.json, etcd)


def nothing(_: str) -> None:
    """A round's verdict says enough."""


def test_leased_cells_are_linearizable_have_one_writer_and_lose_nothing(ground: Ground) -> None:
    for number, fault in enumerate(ROUNDS["etcd" if ground.etcd else "postgres"]):
        verdict = play(ground, [fault], seed=number, seconds=SECONDS, tell=nothing)
        assert verdict.faults == [], fault
        assert verdict.acknowledged > 20, fault


def test_without_the_fence_clients_see_two_writers(ground: Ground) -> None:
    assert play_control(ground, tell=nothing).faults


def test_a_cell_is_switched_over_and_a_region_stands_aside_whoever_grants_the_leases(
    ground: Ground,
) -> None:
    for cell, tenant in ground.tenants.items():
        here = ground.writer(cell)
        there = next(region for region in tenant.regions if region != here)
        moved = ground.manage("region", "switchover", cell, "--to", there)
        assert (moved["from"], moved["to"], moved["rpo_writes"]) == (here, there, 0)
        assert ground.writer(cell) == there
    ground.manage("region", "maintenance", there)
    try:
        assert ground.writer(cell) != there
    finally:
        ground.manage("region", "maintenance", there, "--end")
    ground.manage("region", "failback", "--region", there)
    for cell, tenant in ground.tenants.items():
        ground.manage("region", "failback", cell)
        assert ground.writer(cell) == tenant.regions[0]
