"""Bytes in one direction of one connection, under the condition of their link.

Order and content are kept: a black hole holds what it swallows, as TCP's retransmissions do,
and lets it out when the link is whole again.
"""

from __future__ import annotations

import asyncio
import random
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable

from infra.wan.conditions import HEALTHY, Condition, LinkState

CHUNK = 64 * 1024
IN_FLIGHT = 64
HELD_POLL_SECONDS = 0.02

CurrentCondition = Callable[[], Condition]


async def passable(condition: CurrentCondition) -> None:
    """Return when the link delivers again."""
    while condition().state is LinkState.BLACK_HOLE:
        await asyncio.sleep(HELD_POLL_SECONDS)


async def carry(source: StreamReader, sink: StreamWriter, condition: CurrentCondition) -> None:
    """Carry bytes until the source ends; then pass the end on. What nothing holds up is passed on
    at once: thousands of small messages a second go this way, and each turn of the loop counts."""
    held_up = _HeldUp()
    async with asyncio.TaskGroup() as both:
        deliverer = both.create_task(_deliver(held_up, sink, condition))
        both.create_task(_take(source, sink, held_up, condition, deliverer))


class _HeldUp:
    """What is on its way, in order; `waiting` counts that which is just being delivered, too."""

    def __init__(self) -> None:
        self.waiting = 0
        self._queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=IN_FLIGHT)

    async def put(self, due: float, chunk: bytes) -> None:
        self.waiting += 1
        await self._queue.put((due, chunk))

    async def get(self) -> tuple[float, bytes]:
        return await self._queue.get()


async def _take(
    source: StreamReader,
    sink: StreamWriter,
    held_up: _HeldUp,
    condition: CurrentCondition,
    deliverer: asyncio.Task[None],
) -> None:
    clock = asyncio.get_running_loop().time
    last = 0.0
    while True:
        chunk = await source.read(CHUNK)
        now = condition()
        if now == HEALTHY and not held_up.waiting:
            if not chunk:
                _end(sink)
                deliverer.cancel()
                return
            sink.write(chunk)
            await sink.drain()
            continue
        delay = now.latency_ms + random.uniform(0, now.jitter_ms)  # noqa: S311 - not a secret
        # Never before the chunk ahead of it: jitter must not reorder a stream.
        last = max(clock() + delay / 1000, last)
        if now.kilobytes_per_second:
            last += len(chunk) / (now.kilobytes_per_second * 1000)
        await held_up.put(last, chunk)
        if not chunk:
            return


async def _deliver(held_up: _HeldUp, sink: StreamWriter, condition: CurrentCondition) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        due, chunk = await held_up.get()
        if (wait := due - clock()) > 0:
            await asyncio.sleep(wait)
        await passable(condition)
        if not chunk:
            _end(sink)
            return
        sink.write(chunk)
        await sink.drain()
        held_up.waiting -= 1


def _end(sink: StreamWriter) -> None:
    if sink.can_write_eof():
        sink.write_eof()
