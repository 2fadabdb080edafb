"""A connection that comes back by itself, and never makes anybody wait longer than told to.

To connect takes several round trips, to answer one. So a connection opens in the background,
however short the calls' patience is, and an answer that comes late is waited for there: a new
connection would come later still. Only a server that stays silent gets a new one: while it is
frozen it answers nothing, not even a cancel request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import sql

from regions.errors import RegionsError

Connection = psycopg.AsyncConnection[Any]
T = TypeVar("T")
Query = LiteralString | sql.SQL | sql.Composed


class Unreachable(RegionsError):
    """A server did not answer in time."""


OPENING_SECONDS = 5
LATE_SECONDS = 3.0  # how long a call that nobody waits for any more may keep the connection


class Link:
    """One lazily opened, autocommitting connection; calls are made one after the other."""

    def __init__(
        self,
        name: str,
        dsn: str,
        *,
        timeout: float,
        open_session: Callable[[str], Coroutine[Any, Any, Connection]] | None = None,
    ) -> None:
        self.name = name
        self._dsn = dsn
        self._timeout = timeout
        self._open = open_session or _connect
        self._connection: Connection | None = None
        self._opening: asyncio.Task[Connection] | None = None
        self._late: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    async def fetch(
        self,
        query: Query,
        params: Sequence[object] | Mapping[str, object] = (),
        *,
        timeout: float | None = None,
    ) -> list[tuple[Any, ...]]:
        """The query's rows. Raises Unreachable, or the database's own error."""

        async def call(connection: Connection) -> list[tuple[Any, ...]]:
            cursor = await connection.execute(query, params or None)
            return await cursor.fetchall() if cursor.description else []

        return await self.use(call, timeout=timeout)

    async def use(
        self,
        work: Callable[[Connection], Coroutine[Any, Any, T]],
        *,
        timeout: float | None = None,
    ) -> T:
        """Run `work` on the connection within `timeout` seconds, once earlier calls are over.

        Work that had begun when the time was up may still have its effect later.
        """
        limit = timeout or self._timeout
        try:
            # Not wait_for: before Python 3.12 it may swallow a cancellation.
            async with asyncio.timeout(limit):
                await self._turn.acquire()
        except TimeoutError:
            raise Unreachable(f"{self.name} has not answered the last call yet.") from None
        task: asyncio.Task[T] | None = None
        try:
            deadline = asyncio.get_running_loop().time() + limit
            connection = await self._ready(limit)
            task = asyncio.create_task(work(connection))
            left = deadline - asyncio.get_running_loop().time()
            done, _ = await asyncio.wait({task}, timeout=max(0.0, left))
            if not done:
                raise self._silent(limit)
            try:
                return task.result()
            except psycopg.OperationalError as error:
                self.drop()
                raise self._failed(error) from error
        finally:
            if task is None or task.done():
                self._turn.release()
            else:
                self._late = asyncio.create_task(self._see_out(task))

    def drop(self) -> None:
        """Forget the connection without saying goodbye."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pgconn.finish()

    async def close(self) -> None:
        opening, self._opening = self._opening, None
        opened = opening is not None and not opening.cancel() and not opening.cancelled()
        if opening is not None and opened and not opening.exception():
            self._connection = opening.result()  # for a call that has not come
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    def warm(self) -> None:
        """Have the connection open, or opening, for a call that can't wait for it."""
        if self._connection is not None and not self._connection.closed:
            return
        opening = self._opening
        if opening is None or (opening.done() and (opening.cancelled() or opening.exception())):
            self._opening = asyncio.create_task(self._open(self._dsn))
            self._opening.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    async def _ready(self, limit: float) -> Connection:
        """The open connection. Who gives up does not stop it from opening for the next."""
        self.warm()
        opening = self._opening
        if opening is None:
            assert self._connection is not None  # noqa: S101 - warm: one of the two is there
            return self._connection
        done, _ = await asyncio.wait({opening}, timeout=limit)
        if not done:
            raise self._silent(limit)
        self._opening = None
        try:
            self._connection = opening.result()
        except psycopg.OperationalError as error:
            raise self._failed(error) from error
        return self._connection

    async def _see_out(self, task: asyncio.Task[Any]) -> None:
        """Give the turn on when the late call is over, or when it is given up: then its socket is
        closed once nothing waits on it any more."""
        done, _ = await asyncio.wait({task}, timeout=LATE_SECONDS)
        if not done:
            connection, self._connection = self._connection, None

            def finished(task: asyncio.Task[Any]) -> None:
                if not task.cancelled():
                    task.exception()  # was reported as Unreachable when the time was up
                if connection is not None:
                    connection.pgconn.finish()

            task.add_done_callback(finished)
            task.cancel()
        elif not task.cancelled() and isinstance(task.exception(), psycopg.OperationalError):
            self.drop()
        self._turn.release()

    def _silent(self, limit: float) -> Unreachable:
        return Unreachable(f"{self.name} did not answer within {limit:g} s.")

    def _failed(self, error: psycopg.OperationalError) -> Unreachable:
        return Unreachable(f"{self.name}: {str(error).splitlines()[0]}")


async def _connect(dsn: str) -> Connection:
    return await psycopg.AsyncConnection.connect(
        dsn, autocommit=True, connect_timeout=OPENING_SECONDS
    )
