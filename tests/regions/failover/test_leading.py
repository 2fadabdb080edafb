"""Over slow links, under load, three regions' leaders keep one writer: seen in simulated time."""

from __future__ import annotations

import random
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regions.topology import CellSpec, TenancyMode, WritePolicy
from tests.regions.failover.regions_at_work import STEP, watch
from tests.regions.failover.world import REGIONS, TTL, World, wish


def nothing(_: float) -> None:
    pass


# The slowest answers take two fifths of the time to live.
worlds = st.builds(
    World,
    trip=st.sampled_from([0.002, 0.1, 0.3, 0.6]),
    load=st.sampled_from([0.0, 0.1, 0.3]),
    chance=st.integers(0, 10_000).map(random.Random),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("maps")


@given(world=worlds)
@settings(max_examples=10, deadline=None)
def test_a_cell_has_a_writer_soon_and_keeps_it_as_long_as_a_majority_answers(
    folder: Path, world: World
) -> None:
    seen = watch(world, folder, 30.0, nothing)
    assert seen.most == 1
    assert not [at for at in seen.silent if at > 10.0]


@given(world=worlds)
@settings(max_examples=10, deadline=None)
def test_a_lost_writer_is_replaced_and_there_are_never_two(folder: Path, world: World) -> None:
    def kill(at: float) -> None:
        world.dead = {"a"} if 15.0 <= at < 30.0 else set()

    seen = watch(world, folder, 40.0, kill)
    assert seen.most == 1
    # Of 250 of the slowest worlds the worst took 12 of these.
    assert seen.longest_silence(11.0, STEP) <= TTL + 16 * (world.trip + 2 * world.load) + 1.0


@given(world=worlds)
@settings(max_examples=5, deadline=None)
def test_nobody_writes_before_what_has_arrived_is_applied_however_often_the_lease_is_renewed(
    folder: Path, world: World
) -> None:
    def kill(at: float) -> None:
        world.dead = {"a"} if at >= 15.0 else set()

    world.backlog = dict.fromkeys("bc", 26.0)
    seen = watch(world, folder, 40.0, kill)
    after = {at for at in seen.writers if at > 15.0}
    assert min(after) >= 26.0
    assert max(after) > 39.0


@given(world=worlds)
@settings(max_examples=5, deadline=None)
def test_the_region_that_has_most_of_a_lost_writers_log_writes_next(
    folder: Path, world: World
) -> None:
    def kill(at: float) -> None:
        world.dead = {"a"} if at >= 15.0 else set()

    world.received = {"b": 1, "c": 2}  # b is preferred
    seen = watch(world, folder, 80.0, kill)
    assert seen.most == 1
    assert {who for at, who in seen.writers.items() if at > 15.0} == {"c"}


@given(world=worlds)
@settings(max_examples=5, deadline=None)
def test_where_that_region_can_not_write_another_does(folder: Path, world: World) -> None:
    def kill(at: float) -> None:
        world.dead = {"a"} if at >= 15.0 else set()

    world.received = {"b": 1, "c": 2}
    world.backlog = {"c": 60.0}
    seen = watch(world, folder, 60.0, kill)
    assert seen.most == 1
    assert {who for at, who in seen.writers.items() if at > 50.0}


@given(world=worlds)
@settings(max_examples=10, deadline=None)
def test_a_region_that_has_handed_a_cell_over_does_not_take_it_from_under_its_successor(
    folder: Path, world: World
) -> None:
    """What it was looking at meanwhile is older than that."""
    world.busy = 0.5
    asked = [wish("b")]

    def ask(at: float) -> None:
        if at >= 15.0 and asked:
            world.asked.append(asked.pop())

    seen = watch(world, folder, 40.0, ask)
    assert seen.most == 1
    assert {who for at, who in seen.writers.items() if at > 25.0} == {"b"}


# From midnight on, the first minute is a's.
SUN = CellSpec(
    "control",
    TenancyMode.SHARED,
    WritePolicy.FOLLOW_THE_SUN,
    REGIONS,
    "a 12:00 UTC, b 00:01 UTC",
)


@pytest.mark.parametrize("missed", [False, True])
@given(world=worlds)
@settings(max_examples=3, deadline=None)
def test_the_sun_is_followed_and_a_missed_hand_over_is_caught_up(
    folder: Path, world: World, missed: bool
) -> None:
    def absent(at: float) -> None:
        world.dead = {"b"} if missed and 50.0 <= at < 75.0 else set()

    seen = watch(world, folder, 100.0, absent, SUN)
    assert seen.most == 1
    for name, since, until in (("a", 15.0, 60.0), ("b", 95.0 if missed else 70.0, 100.0)):
        assert {who for at, who in seen.writers.items() if since < at < until} == {name}


@given(
    world=worlds,
    ill=st.floats(TTL + 1.0, 8.0),
    well=st.floats(0.5, 8.0),
    whose=st.sampled_from(REGIONS[:2]),
)
@settings(max_examples=5, deadline=None)
def test_a_flapping_region_loses_the_lease_once_and_does_not_take_it_back_and_forth(
    folder: Path, world: World, ill: float, well: float, whose: str
) -> None:
    def flap(at: float) -> None:
        world.ill = {whose} if at >= 15.0 and (at - 15.0) % (ill + well) < ill else set()

    seen = watch(world, folder, 40.0, flap)
    assert seen.most == 1
    turns = [name for name, _ in groupby(seen.writers[at] for at in sorted(seen.writers))]
    assert len(turns) <= 2
    assert seen.longest_silence(11.0, STEP) <= TTL + 8 * (world.trip + 2 * world.load) + 2.0


@given(world=worlds, whose=st.sampled_from([{"a"}, {"a", "b"}, {"a", "b", "c"}]))
@settings(max_examples=6, deadline=None)
def test_a_cell_is_handed_over_to_where_clients_are_answered_if_that_is_anywhere(
    folder: Path, world: World, whose: set[str]
) -> None:
    def hide(at: float) -> None:
        world.hidden = whose if at >= 15.0 else set()

    seen = watch(world, folder, 25.0, hide)
    assert seen.most == 1
    before, last = (
        seen.writers[max(at for at in seen.writers if at < end)] for end in (15.0, 99.0)
    )
    assert last not in whose or whose == set(REGIONS)
    assert last == before or before in whose != set(REGIONS)
