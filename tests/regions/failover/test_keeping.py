"""Keepers of a replica: one look for all that are due, and nobody waits for another's turn."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, LiteralString, cast

import pytest
from psycopg import sql

from regions.deployment import Deployment
from regions.errors import SwitchoverFailed
from regions.failover.keeping import Keeper, Kept, keep
from regions.failover.link import Link, Unreachable
from regions.topology import CellSpec, TenancyMode, WritePolicy
from tests.regions.failover.simulated import simulate

SPEC = CellSpec("c", TenancyMode.SHARED, WritePolicy.ACTIVE_PASSIVE, ("a", "b"))


class Answers:
    """Stands for the link to a server: each column's answer is its own text."""

    def __init__(self, silent_until: float = 0.0) -> None:
        self.looks: list[tuple[float, list[str]]] = []
        self._silent_until = silent_until

    async def fetch(self, query: sql.Composed) -> list[tuple[str, ...]]:
        text = query.as_string(None)
        columns = text.removeprefix("SELECT ").split(" FROM ")[0].split(", ")
        now = asyncio.get_running_loop().time()
        self.looks.append((now, columns))
        if now < self._silent_until:
            raise Unreachable("not yet")
        return [tuple(columns)]


class Often(Keeper):
    sight: ClassVar[Sequence[LiteralString]] = ("often", "more")
    failure = "not done"
    seconds: ClassVar[float] = 2.0

    def __init__(self, kept: Kept) -> None:
        super().__init__(kept)
        self.seen: list[tuple[Any, ...]] = []

    @property
    def pause(self) -> float:
        return self.seconds

    async def take_turn(self, *args: Any, **kwargs: Any) -> None:
        self.seen.append(args)


class Seldom(Often):
    sight = ("seldom",)
    seconds = 10.0


class Slow(Often):
    sight = ("slow",)

    async def take_turn(self, *args: Any, **kwargs: Any) -> None:
        await super().take_turn(*args)
        await asyncio.sleep(1000)


class Failing(Often):
    sight = ("failing",)

    async def take_turn(self, *args: Any, **kwargs: Any) -> None:
        await super().take_turn(*args)
        raise SwitchoverFailed("it cannot be done")


def work(answers: Answers, *kinds: type[Often], seconds: float = 60.5) -> list[Often]:
    kept = Kept(cast(Deployment, None), "a", SPEC, cast(Link, answers))
    keepers = [kind(kept) for kind in kinds]

    async def run() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(keep(kept, keepers), seconds)

    simulate(run())
    return keepers


def test_those_that_are_due_look_together_and_each_sees_its_own() -> None:
    answers = Answers()
    often, seldom = work(answers, Often, Seldom)
    assert set(often.seen) == {("often", "more")}
    assert set(seldom.seen) == {("seldom",)}
    assert len(seldom.seen) >= 5
    together = [columns for _, columns in answers.looks if "seldom" in columns]
    assert all("often" in columns for columns in together)
    seconds = Counter(int(at) for at, _ in answers.looks)
    assert max(seconds.values()) == 1


def test_neither_a_slow_turn_nor_a_failing_one_keeps_another_waiting() -> None:
    often, slow, failing = work(Answers(), Often, Slow, Failing)
    alone = work(Answers(), Often)[0]
    assert len(often.seen) == len(failing.seen) == len(alone.seen)
    assert len(slow.seen) == 1


def test_whoever_got_no_answer_looks_again() -> None:
    often, seldom = work(Answers(silent_until=30.0), Often, Seldom)
    assert len(often.seen) >= 10
    assert seldom.seen
