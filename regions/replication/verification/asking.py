"""Asks a cell's replicas side by side, and tells one that is frozen from one that is slow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from regions.errors import ReplicaDown
from regions.replication.session import Session

T = TypeVar("T")

ANSWER_SECONDS = 10.0  # a server that takes longer over a trifle is frozen, or lost


async def everywhere(
    sessions: Mapping[str, Session], work: Callable[[Session], Awaitable[T]]
) -> dict[str, T]:
    """Each region's answer."""
    return dict(zip(sessions, await asyncio.gather(*map(work, sessions.values())), strict=True))


async def soon(region: str, answer: Awaitable[T]) -> T:
    """The region's answer to a trifle. Raises ReplicaDown, which names it, if there is none."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await answer
    except TimeoutError:
        raise ReplicaDown(
            f"{region} has not answered for {ANSWER_SECONDS:g} s: it is frozen, or not reachable"
        ) from None
