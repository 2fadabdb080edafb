"""An agent that is killed in the midst of a hand-over, at each stage: seen in simulated time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings

from regions.failover.wishes import OVERTAKEN
from tests.regions.failover.regions_at_work import STEP, watch
from tests.regions.failover.test_leading import SUN, worlds
from tests.regions.failover.world import MONDAY, TTL, World, wish

ASKED_AT, HEEDED_SECONDS = 15.0, 30.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("maps")


@pytest.mark.parametrize("back", [0.2, 4.0, 1000.0])
@pytest.mark.parametrize("stage", ["begun", "fenced", "let go"])
@given(world=worlds)
@settings(max_examples=2, deadline=None, derandomize=True)
def test_whenever_an_agent_is_killed_one_region_writes_soon_and_nothing_is_done_later(
    folder: Path, stage: str, back: float, world: World
) -> None:
    world.dies, world.back = stage, back
    asked = wish("b", at=MONDAY + timedelta(seconds=ASKED_AT))
    left = [asked]

    def ask(at: float) -> None:
        if at >= ASKED_AT and left:
            world.asked.append(left.pop())
        if at >= ASKED_AT + HEEDED_SECONDS:
            world.asked.clear()

    seen = watch(world, folder, 60.0, ask)
    assert "a" in world.killed
    assert seen.most == 1
    slow = 16 * (world.trip + 2 * world.load)
    assert seen.longest_silence(11.0, STEP) <= 2 * TTL + slow + 1.0
    lapsed = ASKED_AT + HEEDED_SECONDS
    (writer,) = {who for at, who in seen.writers.items() if at > lapsed}
    told = world.told.get(asked.id)
    assert told in (None, "done") or told.startswith(OVERTAKEN)
    if told is not None:
        assert (told == "done") is (writer == "b")
    if back < TTL or stage == "let go":
        assert writer == "b", "who had asked for it need not ask again"


@given(world=worlds)
@settings(max_examples=2, deadline=None, derandomize=True)
def test_who_got_a_cell_in_anothers_turn_keeps_it_though_its_agent_is_killed(
    folder: Path, world: World
) -> None:
    """A restart is no reason to undo what an operator wanted."""
    left = [wish("b", at=MONDAY + timedelta(seconds=ASKED_AT))]

    def ask(at: float) -> None:
        if at >= ASKED_AT and left:
            world.asked.append(left.pop())
        if at >= 30.0:
            world.killed.add("b")

    seen = watch(world, folder, 55.0, ask, SUN)  # the turn of a ends with the minute
    assert {who for at, who in seen.writers.items() if at > 25.0} == {"b"}
