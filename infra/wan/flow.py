"""Bytes in one direction of one connection, under the condition of their link.

Order and content are kept: a black hole holds what it swallows, as TCP's retransmissions do,
and lets it out when the link is whole again.
"""

from __future__ import annotations

import asyncio
import random
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable

from infra.wan.conditions import Condition, LinkState

CHUNK = 64 * 1024
IN_FLIGHT = 64
HELD_POLL_SECONDS = 0.02

CurrentCondition = Callable[[], Condition]


async def passable(condition: CurrentCondition) -> None:
    """Return when the link delivers again."""
    while condition().state is LinkState.BLACK_HOLE:
        await asyncio.sleep(HELD_POLL_SECONDS)


async def carry(source: StreamReader, sink: StreamWriter, condition: CurrentCondition) -> None:
    """Carry bytes until the source ends; then pass the end on."""
    in_flight: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=IN_FLIGHT)
    async with asyncio.TaskGroup() as both:
        both.create_task(_take(source, in_flight, condition))
        both.create_task(_deliver(in_flight, sink, condition))


async def _take(
    source: StreamReader,
    in_flight: asyncio.Queue[tuple[float, bytes]],
    condition: CurrentCondition,
) -> None:
    clock = asyncio.get_running_loop().time
    last = 0.0
    while True:
        chunk = await source.read(CHUNK)
        now = condition()
        delay = now.latency_ms + random.uniform(0, now.jitter_ms)  # noqa: S311 - not a secret
        # Never before the chunk ahead of it: jitter must not reorder a stream.
        last = max(clock() + delay / 1000, last)
        if now.kilobytes_per_second:
            last += len(chunk) / (now.kilobytes_per_second * 1000)
        await in_flight.put((last, chunk))
        if not chunk:
            return


async def _deliver(
    in_flight: asyncio.Queue[tuple[float, bytes]],
    sink: StreamWriter,
    condition: CurrentCondition,
) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        due, chunk = await in_flight.get()
        if (wait := due - clock()) > 0:
            await asyncio.sleep(wait)
        await passable(condition)
        if not chunk:
            if sink.can_write_eof():
                sink.write_eof()
            return
        sink.write(chunk)
        await sink.drain()
