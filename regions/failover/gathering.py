"""Many small writes over one link as few calls: what comes while one waits goes with the next.

Fifty cells that move at once have two hundred things to say. One after the other, each waiting for
its commit, they would keep a link busy for longer than any of them may wait for its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Generic, TypeVar

from regions.failover.link import Connection, Link

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Gathering(Generic[Item, Answer]):
    """`work` does what was gathered, in the order in which it came, in one call."""

    def __init__(
        self,
        link: Link,
        work: Callable[[Connection, Sequence[Item]], Coroutine[Any, Any, Answer]],
    ) -> None:
        self._link = link
        self._work = work
        self._items: list[Item] = []
        self._call: asyncio.Task[Answer] | None = None

    async def add(self, item: Item) -> Answer:
        """The answer to the call that had it. What one waiter's end stops is not the others' call.
        Raises Unreachable, or the database's own error: to all whose item was in that call."""
        self._items.append(item)
        if self._call is None:
            self._call = asyncio.create_task(self._do_all())
            # Whoever waited may be gone.
            self._call.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return await asyncio.shield(self._call)

    async def _do_all(self) -> Answer:
        async def work(connection: Connection) -> Answer:
            items, self._items, self._call = self._items, [], None
            return await self._work(connection, items)

        try:
            return await self._link.use(work)
        finally:
            if self._call is asyncio.current_task():  # it has not come to it
                self._items, self._call = [], None


def columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """As `unnest` takes them: an array for each field."""
    return [list(column) for column in zip(*rows, strict=True)]
