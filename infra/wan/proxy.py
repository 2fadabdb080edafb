"""The WAN between the regions: one listener for each directed link, all in one process.

A connection that region a opens to region b carries a→b bytes one way and b→a bytes the other
way, each under its own link's condition. While either direction is cut nothing listens, and
the connections that were open are reset.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from infra.wan.conditions import HEALTHY, Condition, Link, LinkState
from infra.wan.flow import carry, passable

Address = tuple[str, int]
CONNECT_SECONDS = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a link listens and where it leads."""

    link: Link
    listen: Address
    target: Address


@dataclass
class Wan:
    """All links of the fleet. `apply` puts new conditions in force at once."""

    routes: tuple[Route, ...]
    conditions: Mapping[Link, Condition] = field(default_factory=dict)
    _servers: dict[Link, asyncio.Server] = field(default_factory=dict)
    _open: dict[Link, set[asyncio.Task[None]]] = field(default_factory=dict)

    def condition(self, link: Link) -> Condition:
        return self.conditions.get(link, HEALTHY)

    async def apply(self, conditions: Mapping[Link, Condition]) -> None:
        """Open and close listeners, and reset connections, as these conditions want."""
        self.conditions = conditions
        for route in self.routes:
            if self._is_cut(route.link):
                self._close(route.link)
            elif route.link not in self._servers:
                await self._listen(route)

    def close(self) -> None:
        """Stop listening and reset every connection."""
        for route in self.routes:
            self._close(route.link)

    def _is_cut(self, link: Link) -> bool:
        source, target = link
        return any(
            self.condition(way).state is LinkState.CUT
            for way in ((source, target), (target, source))
        )

    async def _listen(self, route: Route) -> None:
        async def accepted(reader: StreamReader, writer: StreamWriter) -> None:
            task = cast("asyncio.Task[None]", asyncio.current_task())
            connections = self._open.setdefault(route.link, set())
            connections.add(task)
            try:
                await self._serve(route, reader, writer)
            finally:
                connections.discard(task)

        host, port = route.listen
        self._servers[route.link] = await asyncio.start_server(accepted, host, port)

    def _close(self, link: Link) -> None:
        if server := self._servers.pop(link, None):
            server.close()
        for task in self._open.pop(link, set()):
            task.cancel()

    async def _serve(self, route: Route, reader: StreamReader, writer: StreamWriter) -> None:
        there, back = route.link, route.link[::-1]
        upstream: StreamWriter | None = None
        try:
            await passable(lambda: self.condition(there))
            # What the handshake would take: one way there and one way back.
            trip = self.condition(there).latency_ms + self.condition(back).latency_ms
            await asyncio.sleep(trip / 1000)
            async with asyncio.timeout(CONNECT_SECONDS):
                answer, upstream = await asyncio.open_connection(*route.target)
            async with asyncio.TaskGroup() as both:
                both.create_task(carry(reader, upstream, lambda: self.condition(there)))
                both.create_task(carry(answer, writer, lambda: self.condition(back)))
        except* OSError as failures:
            logger.info("%s→%s: %s", *route.link, failures.exceptions[0])
        except* asyncio.CancelledError:
            logger.info("%s→%s: connection cut", *route.link)
        finally:
            for end in (writer, upstream):
                if end is not None:
                    end.transport.abort()
