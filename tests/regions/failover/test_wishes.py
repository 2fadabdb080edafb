"""Several operators want something of one cell at once: one writer, and everybody is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regions.failover.journal import Request
from regions.failover.lease import View
from regions.failover.wishes import OVERTAKEN, Wishes
from tests.regions.failover.regions_at_work import watch
from tests.regions.failover.test_leading import worlds
from tests.regions.failover.world import CELL, MONDAY, World, wish

NAME = CELL.name
VIEW = View("a", "a", 1, open=False, answered=3, successor=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("maps")


@given(
    world=worlds,
    targets=st.lists(st.sampled_from("abc"), min_size=2, max_size=4),
    pauses=st.lists(st.sampled_from([0.0, 0.1, 0.4, 1.5]), min_size=4, max_size=4),
)
@settings(max_examples=8, deadline=None, derandomize=True)
def test_whatever_is_wanted_at_once_one_region_writes_and_everybody_is_told(
    folder: Path, world: World, targets: list[str], pauses: list[float]
) -> None:
    wishes = [wish(target, by=f"operator {n}") for n, target in enumerate(targets)]
    left = [(15.0 + sum(pauses[:n]), one) for n, one in enumerate(wishes)]

    def ask(at: float) -> None:
        while left and left[0][0] <= at:
            world.asked.append(left.pop(0)[1])

    seen = watch(world, folder, 35.0, ask)
    assert seen.most == 1
    assert set(world.told) == {one.id for one in wishes}
    (writer,) = {who for at, who in seen.writers.items() if at > 33.0}
    done = {one.target for one in wishes if world.told[one.id] == "done"}
    assert writer in done
    assert done <= {"a", writer}
    for one in wishes:
        told = world.told[one.id]
        assert told == "done" or (told.startswith(OVERTAKEN) and one.target != writer)


@given(world=worlds)
@settings(max_examples=3, deadline=None, derandomize=True)
def test_who_asks_for_a_region_that_is_not_there_is_told_who_goes_on(
    folder: Path, world: World
) -> None:
    world.dead = {"b"}
    asked = wish("b")

    def ask(at: float) -> None:
        if at >= 15.0 and asked.id not in world.told and not world.asked:
            world.asked.append(asked)

    seen = watch(world, folder, 25.0, ask)
    assert seen.most == 1
    assert world.told[asked.id] == "b does not answer. a goes on writing."


class Told:
    """A journal that says what is asked, and hears what is told."""

    def __init__(self, *asked: Request) -> None:
        self.asked = list(asked)
        self.told: dict[str, str] = {}

    async def requests(self) -> list[Request]:
        return self.asked

    async def settle(self, request: Request, outcome: str) -> None:
        self.told[request.by] = outcome


def refused(
    journal: Told, view: View | None, *, held: bool = True, ended: Sequence[Request] = ()
) -> dict[str, str]:
    async def run() -> None:
        wishes = Wishes("a", cast(Any, journal))
        for request in ended:
            await wishes.end(request, "done")
        await wishes.look()
        await wishes.refuse({NAME: view} if view else {}, [NAME] if held else [], [])

    asyncio.run(run())
    return journal.told


def test_who_is_overtaken_is_told_by_whom_and_since_when() -> None:
    journal = Told(wish("b"), replace(wish("c", by="bob"), at=MONDAY + timedelta(seconds=7)))
    assert refused(journal, VIEW) == {
        "ann": "Somebody else was faster: bob has asked for c since 00:00:07 UTC."
    }


def test_who_asks_a_region_that_does_not_write_any_more_is_told_who_does() -> None:
    view = replace(VIEW, holder="b")
    done = wish("b", by="bob")
    journal = Told(wish("c"))
    assert refused(journal, view, held=False, ended=[done])["ann"] == (
        f"Somebody else was faster: b writes {NAME} now, as bob asked at 00:00:00 UTC."
    )
    # The acceptors may not have heard yet of what was got here.
    assert refused(Told(wish("c")), view) == {}


def test_who_asks_for_a_region_that_is_worked_on_is_told_so_unless_he_insists() -> None:
    view = replace(VIEW, aside=frozenset({"b"}))
    assert "is being worked on" in refused(Told(wish("b")), view)["ann"]
    insisted = replace(wish("b"), forced=True)
    assert refused(Told(insisted), view) == {}
    wishes = Wishes("a", cast(Any, Told()))
    assert wishes.to_hand_over(wish("b"), view) is None
    assert wishes.to_hand_over(insisted, view) == "b"


def test_who_asks_of_a_cell_that_every_region_writes_is_told_so() -> None:
    assert "every region writes" in refused(Told(wish("b")), None)["ann"]
