"""What one region's agent does for a cell's replica from time to time, each by a keeper of its own.

Guarantees that what keepers want to know at a time is asked in one query, and that neither a long
turn nor one that fails keeps another keeper waiting.
"""

from __future__ import annotations

import asyncio
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, LiteralString

import psycopg
from psycopg import sql

from regions.deployment import Deployment
from regions.errors import RegionsError
from regions.failover.link import Link
from regions.topology import CellSpec

log = logging.getLogger("meridian.replica")

Tell = Callable[[str], Awaitable[None]]

TOGETHER_SECONDS = 0.05  # what is wanted so soon after each other is asked together


@dataclass(frozen=True, slots=True)
class Kept:
    """The cell's replica in `region`. `tell` is told what operators should know of."""

    deployment: Deployment
    region: str
    spec: CellSpec
    link: Link
    tell: Tell | None = None

    @property
    def turn(self) -> int:
        """This region's place among the cell's: whoever is first does what one must do for all."""
        return self.spec.regions.index(self.region)

    @property
    def peers(self) -> list[str]:
        return [name for name in self.spec.regions if name != self.region]

    async def say(self, what: str) -> None:
        log.warning("%s: %s", self.spec.name, what)
        if self.tell is not None:
            await self.tell(what)


class Keeper(ABC):
    """Looks, and takes a turn with what it has seen."""

    sight: ClassVar[Sequence[LiteralString]]
    """What it wants to know, as expressions over `fabric.member m` and `fabric.gate g`."""
    failure: ClassVar[str]
    """What is not done when a turn fails: half a sentence."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept

    @property
    @abstractmethod
    def pause(self) -> float:
        """Seconds until its next look, from the end of the last turn on."""

    @abstractmethod
    async def take_turn(self, *args: Any, **kwargs: Any) -> None:
        """With what was seen, in the order of `sight`. May raise RegionsError, psycopg.Error,
        OSError."""


async def keep(kept: Kept, keepers: Sequence[Keeper]) -> None:
    """Let each have its turns, the first after its pause. Runs until cancelled."""
    looks = _Looks(kept)
    async with asyncio.TaskGroup() as turns:
        for keeper in keepers:
            turns.create_task(_take_turns(keeper, looks))


async def _take_turns(keeper: Keeper, looks: _Looks) -> None:
    while True:
        try:
            await keeper.take_turn(*await looks.see(keeper))
        except (RegionsError, psycopg.Error, OSError) as error:
            log.warning("%s: %s: %s", keeper.kept.spec.name, keeper.failure, error)


def now() -> float:
    return asyncio.get_running_loop().time()


class _Looks:
    """Turns come at full seconds since its beginning, so that most of them come together."""

    def __init__(self, kept: Kept) -> None:
        self._link = kept.link
        self._began = now()
        self._asking: list[Keeper] = []
        self._look: asyncio.Task[dict[Keeper, tuple[Any, ...]]] | None = None

    async def see(self, keeper: Keeper) -> tuple[Any, ...]:
        """After its pause, what it wants to know. Raises Unreachable, or the database's error."""
        until = now() - self._began + keeper.pause
        await asyncio.sleep(self._began + math.ceil(until - 2 * TOGETHER_SECONDS) - now())
        self._asking.append(keeper)
        if self._look is None:
            self._look = asyncio.create_task(self._at_all())
        return (await self._look)[keeper]

    async def _at_all(self) -> dict[Keeper, tuple[Any, ...]]:
        await asyncio.sleep(TOGETHER_SECONDS)
        keepers, self._asking, self._look = self._asking, [], None
        query = sql.SQL("SELECT {} FROM fabric.member m CROSS JOIN fabric.gate g").format(
            sql.SQL(", ").join(sql.SQL(column) for keeper in keepers for column in keeper.sight)
        )
        (row,) = await self._link.fetch(query)
        columns = iter(row)
        return {keeper: tuple(next(columns) for _ in keeper.sight) for keeper in keepers}
