"""What an agent does over its link to the control database, from a test that has no loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from regions.failover.link import Link

T = TypeVar("T")
PATIENCE_SECONDS = 120.0


def linked(dsn: str, work: Callable[[Link], Coroutine[Any, Any, T]]) -> T:
    """What comes of `work`, on a link of its own."""

    async def run() -> T:
        link = Link("control", dsn, timeout=PATIENCE_SECONDS)
        try:
            return await work(link)
        finally:
            await link.close()

    return asyncio.run(run())
