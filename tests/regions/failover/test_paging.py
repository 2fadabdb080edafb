"""Whoever is on call hears of a cell that nobody writes, and why, once, and when it ends."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from regions.failover import paging
from regions.failover.decide import Decision
from regions.failover.lease import View
from regions.failover.paging import DARK_SECONDS, QUORUM, Darkness, Page, Pager
from regions.failover.surroundings import Log
from regions.topology import CellSpec, TenancyMode, WritePolicy

CELL = CellSpec("eu", TenancyMode.SHARED, WritePolicy.ACTIVE_PASSIVE, ("eu-west", "eu-central"))
MAJORITY = 2


def view(holder: str | None = None, *, answered: int = 3, aside: tuple[str, ...] = ()) -> View:
    return View(holder, "eu-west", 7, holder is None, answered, None, frozenset(aside))


def look(
    darkness: Darkness, seen: View, now: float, reached: tuple[str, ...] = ("us-east",)
) -> list[Page]:
    return darkness.look([CELL], {CELL.name: seen}, MAJORITY, reached, now)


def test_a_cell_that_nobody_writes_is_told_of_once_with_the_reason_and_when_it_ends() -> None:
    darkness = Darkness()
    assert look(darkness, view(), 0.0) == []
    assert look(darkness, view(), DARK_SECONDS - 0.1) == []
    (page,) = look(darkness, view(aside=("eu-central",)), DARK_SECONDS)
    assert (page.key, page.about, page.state) == ("no-writer/eu/7", "eu", "down")
    assert page.reason == (
        "Nobody writes eu: eu-west answers no client, eu-central is being worked on."
        " No other region may (B06)."
    )
    assert look(darkness, view(), DARK_SECONDS + 1) == []
    (over,) = look(darkness, view("eu-west"), DARK_SECONDS + 2)
    assert (over.key, over.state) == (page.key, "up")
    assert look(darkness, view("eu-west"), DARK_SECONDS + 3) == []


def test_a_region_that_answers_and_does_not_take_the_cell_is_named() -> None:
    darkness = Darkness()
    look(darkness, view(), 0.0)
    (page,) = look(darkness, view(), DARK_SECONDS, ("eu-west", "eu-central"))
    assert "eu-west does not take it" in page.reason


def test_a_writer_that_comes_in_time_is_nobodys_business() -> None:
    darkness = Darkness()
    for now in range(0, 100, 5):
        holder = "eu-west" if now % 10 else None
        assert look(darkness, view(holder), float(now)) == []


def test_without_a_majority_the_quorum_is_told_of_and_not_each_cell() -> None:
    darkness = Darkness()
    look(darkness, view(answered=1), 0.0)
    (page,) = look(darkness, view(answered=1), DARK_SECONDS)
    assert page.key == QUORUM


class Said:
    """The agent's journal."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    async def event(self, cell: str, decision: Decision, epoch: int | None = None) -> None:
        self.events.append((cell, decision.action))


CALLED = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
page = json.load(sys.stdin)
tries = folder / "tries"
tries.write_text((tries.read_text() if tries.exists() else "") + "x")
if len(tries.read_text()) == 1:
    sys.exit(1)
(folder / "page").write_text(json.dumps(page))
"""


def test_the_pager_is_called_until_it_has_ended_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "DARK_SECONDS", 0.0)
    monkeypatch.setattr(paging, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(paging, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(paging, "PAGER_SECONDS", 60.0)
    said = Said()
    command = (sys.executable, "-c", CALLED, str(tmp_path))
    pager = Pager(
        command,
        "us-east",
        cast(Log, said),
        specs=lambda: [CELL],
        views=lambda: {CELL.name: view()},
        reached=tuple[str, ...],
        acceptors=3,
    )

    async def called() -> dict[str, Any]:
        running = asyncio.create_task(pager.run())
        async with asyncio.timeout(120):
            while len(pager._untold) == 1 or not (tmp_path / "page").exists():
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert (tmp_path / "tries").read_text() == "xx"
        document: dict[str, Any] = json.loads((tmp_path / "page").read_text())
        return document

    page = asyncio.run(called())
    assert (page["about"], page["state"], page["seen_from"]) == ("eu", "down", "us-east")
    assert said.events == [("eu", "page")]
