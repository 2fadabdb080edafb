"""Much that is small as little that is large: what comes while a call waits goes with the next.

Guarantees that nobody waits for more than two calls: the one under way, and the one that all who
came meanwhile share. Fifty cells that move at once have leases to renew and to let go and two
hundred things to write down: one after the other, the last of them would be too late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Generic, TypeVar

from regions.failover.link import Connection, Link

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Take = Callable[[], list[Item]]


class Gathering(Generic[Item, Answer]):
    """`call` is given what takes all that was gathered, in the order in which it came: to be
    called once it is its turn, because until then more may come."""

    def __init__(self, call: Callable[[Take[Item]], Coroutine[Any, Any, Answer]]) -> None:
        self._call = call
        self._items: list[Item] = []
        self._next: asyncio.Task[Answer] | None = None

    async def add(self, *items: Item) -> Answer:
        """The answer to the call that had them. What one waiter's end stops is not the others'
        call. Raises what the call raises: to all whose items it had."""
        self._items += items
        if self._next is None:
            self._next = asyncio.create_task(self._do_all())
            # Whoever waited may be gone.
            self._next.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return await asyncio.shield(self._next)

    async def _do_all(self) -> Answer:
        def take() -> list[Item]:
            items, self._items, self._next = self._items, [], None
            return items

        try:
            return await self._call(take)
        finally:
            if self._next is asyncio.current_task():  # it has not come to it
                take()


def written(
    link: Link, work: Callable[[Connection, list[Item]], Coroutine[Any, Any, Answer]]
) -> Gathering[Item, Answer]:
    """What is written over a link. Adding raises Unreachable, or the database's own error."""

    async def call(take: Take[Item]) -> Answer:
        return await link.use(lambda connection: work(connection, take()))

    return Gathering(call)


def columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """As `unnest` takes them: an array for each field."""
    return [list(column) for column in zip(*rows, strict=True)]
