"""Where clients are answered now: a region may see the quorum while nobody reaches its web.

Each region's web is asked once a second, as the edge does it. Guarantees hysteresis: a region is
given up after LOST_SECONDS without an answer, and counted on again after BACK_SECONDS without a
failure, so that one that flaps is not fled to. Of a region that has never answered nothing is said.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

ASK_SECONDS = 1.0
ANSWER_SECONDS = 2.0
LOST_SECONDS = 3.0
BACK_SECONDS = 10.0


@dataclass(slots=True)
class Steady:
    """One region's. `up`: None until it has answered for the first time."""

    up: bool | None = None
    contrary_since: float | None = None

    def saw(self, answered: bool, now: float) -> None:
        if self.up is None:
            self.up = True if answered else None
            return
        if answered is self.up:
            self.contrary_since = None
            return
        if self.contrary_since is None:
            self.contrary_since = now
        if now - self.contrary_since >= (LOST_SECONDS if self.up else BACK_SECONDS):
            self.up, self.contrary_since = answered, None


class Reach:
    """Asks each region's web, by its URL; runs until cancelled."""

    def __init__(self, region: str, webs: Mapping[str, str]) -> None:
        self._region = region
        self._webs = webs
        self._steady = {name: Steady() for name in webs}

    @property
    def reached(self) -> frozenset[str]:
        """The own region is among them until it has answered once, and then no more."""
        found = {name for name, one in self._steady.items() if one.up}
        return frozenset(
            found | ({self._region} if self._steady[self._region].up is None else set())
        )

    async def run(self) -> None:
        async with httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False) as client:
            await asyncio.gather(*(self._ask_forever(client, name) for name in self._webs))

    async def _ask_forever(self, client: httpx.AsyncClient, name: str) -> None:
        while True:
            try:
                answer = await client.get(f"{self._webs[name]}/healthz/live")
                answered = answer.status_code == httpx.codes.OK
            except httpx.HTTPError:
                answered = False
            self._steady[name].saw(answered, time.monotonic())
            await asyncio.sleep(ASK_SECONDS)
