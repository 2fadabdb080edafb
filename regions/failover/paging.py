"""Tells whoever is on call that a cell has had no writer for a while, why nobody takes it over, and
when that is over.

Guarantees that every region's agent that sees it says so, also of cells of which it has no replica:
when all regions that may write a cell are lost, others know. Each says it once, under a key that is
the same for all. It is an event of the agent, and the deployment's `pager`, a command, gets it as
JSON on its standard input, again and again until it has ended well.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from regions.failover.decide import Action, Decision
from regions.failover.lease import View
from regions.failover.proposing import majority_of
from regions.failover.surroundings import Log
from regions.topology import CellSpec

log = logging.getLogger("meridian.pager")

DARK_SECONDS = 15.0  # a failover has ended by then
LOOK_SECONDS = 1.0
PAGER_SECONDS = 10.0  # so long it may take …
AGAIN_SECONDS = 10.0  # … and so long it is left alone after it has failed
QUORUM = "quorum"


@dataclass(frozen=True, slots=True)
class Page:
    """`about` a cell, or the quorum: `state` is `down`, or `up` once it is over."""

    key: str
    about: str
    state: str
    reason: str


class Darkness:
    """What has had no writer, since when. Pure."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._told: dict[str, Page] = {}

    def look(
        self,
        specs: Iterable[CellSpec],
        views: Mapping[str, View],
        majority: int,
        reached: Collection[str],
        now: float,
    ) -> list[Page]:
        """What is to be told now. `reached`: the regions where clients are answered."""
        seen = [(spec, views[spec.name]) for spec in specs if spec.name in views]
        dark: dict[str, Page] = {}
        if seen and all(view.answered < majority for _, view in seen):
            reason = "No majority of the lease's acceptors answers: no cell gets a writer."
            dark[QUORUM] = Page(QUORUM, QUORUM, "down", reason)
        for spec, view in seen:
            if view.answered >= majority and view.holder is None:
                key = f"no-writer/{spec.name}/{view.epoch}"
                dark[spec.name] = Page(key, spec.name, "down", _why(spec, view, reached))
        self._since = {about: self._since.get(about, now) for about in dark}
        over = [page for about, page in self._told.items() if about not in dark]
        new = [
            page
            for about, page in dark.items()
            if about not in self._told and now - self._since[about] >= DARK_SECONDS
        ]
        self._told = {about: page for about, page in self._told.items() if about in dark}
        self._told |= {page.about: page for page in new}
        return [*new, *(replace(page, state="up", reason="It is over.") for page in over)]


def _why(spec: CellSpec, view: View, reached: Collection[str]) -> str:
    """Of each region that may write the cell, why it does not."""

    def state(region: str) -> str:
        if region in view.aside:
            return "is being worked on"
        return "does not take it" if region in reached else "answers no client"

    whose = ", ".join(f"{region} {state(region)}" for region in spec.regions)
    return f"Nobody writes {spec.name}: {whose}. No other region may (B06)."


class Pager:
    """One agent's. Runs until cancelled."""

    def __init__(
        self,
        command: Sequence[str],
        region: str,
        journal: Log,
        *,
        specs: Callable[[], Iterable[CellSpec]],
        views: Callable[[], Mapping[str, View]],
        reached: Callable[[], Collection[str]],
        acceptors: int,
    ) -> None:
        self._command = tuple(command)
        self._region = region
        self._journal = journal
        self._specs, self._views, self._reached = specs, views, reached
        self._majority = majority_of(acceptors)
        self._darkness = Darkness()
        self._untold: list[Page] = []

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._call_forever())
            while True:
                pages = self._darkness.look(
                    self._specs(), self._views(), self._majority, self._reached(), loop.time()
                )
                for page in pages:
                    self._untold.append(page)
                    await self._journal.event(page.about, Decision(Action.PAGE, page.reason))
                await asyncio.sleep(LOOK_SECONDS)

    async def _call_forever(self) -> None:
        while True:
            pause = LOOK_SECONDS
            if self._untold and self._command:
                if await self._told(self._untold[0]):
                    self._untold.pop(0)
                else:
                    pause = AGAIN_SECONDS
            else:
                self._untold.clear()
            await asyncio.sleep(pause)

    async def _told(self, page: Page) -> bool:
        document = json.dumps({**asdict(page), "seen_from": self._region})
        try:
            pager = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            log.error("The pager can't be called: %s: %s", error, page.reason)
            return False
        try:
            async with asyncio.timeout(PAGER_SECONDS):
                await pager.communicate(document.encode())
        except TimeoutError:
            pager.kill()
            await pager.wait()
        if pager.returncode != os.EX_OK:
            log.error("The pager ended with %s: %s", pager.returncode, page.reason)
        return pager.returncode == os.EX_OK
