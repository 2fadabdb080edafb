"""A connection that comes back by itself, and never waits longer than it is told to.

A frozen server answers nothing, not even a cancel request: so a late answer is not awaited, the
call is given up in the background and the next one opens a new connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import sql

from regions.errors import RegionsError

Connection = psycopg.AsyncConnection[Any]
T = TypeVar("T")
Query = LiteralString | sql.SQL | sql.Composed


class Unreachable(RegionsError):
    """A server did not answer in time."""


class Link:
    """One lazily opened, autocommitting connection; calls are made one after the other."""

    def __init__(
        self,
        name: str,
        dsn: str,
        *,
        timeout: float,
        open_session: Callable[[str], Awaitable[Connection]] | None = None,
    ) -> None:
        self.name = name
        self._dsn = dsn
        self._timeout = timeout
        self._open = open_session or _connect
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    async def fetch(
        self, query: Query, params: Sequence[object] = (), *, timeout: float | None = None
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
        """Run `work` on the connection within `timeout` seconds, once earlier calls are over."""
        limit = timeout or self._timeout
        try:
            await asyncio.wait_for(self._turn.acquire(), limit)
        except TimeoutError:
            raise Unreachable(f"{self.name} has not answered the last call yet.") from None
        try:
            task = asyncio.create_task(self._run(work))
            done, _ = await asyncio.wait({task}, timeout=limit)
            if not done:
                self._abandon(task)
                raise Unreachable(f"{self.name} did not answer within {limit:g} s.")
            try:
                return task.result()
            except psycopg.OperationalError as error:
                self.drop()
                raise Unreachable(f"{self.name}: {str(error).splitlines()[0]}") from error
        finally:
            self._turn.release()

    def drop(self) -> None:
        """Forget the connection without saying goodbye."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pgconn.finish()

    def _abandon(self, task: asyncio.Task[Any]) -> None:
        """Let go of a call that hangs; its socket is closed once nothing waits on it any more."""
        connection, self._connection = self._connection, None

        def finished(task: asyncio.Task[Any]) -> None:
            if not task.cancelled():
                task.exception()  # was reported as Unreachable when the call was given up
            if connection is not None:
                connection.pgconn.finish()

        task.add_done_callback(finished)
        task.cancel()

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _run(self, work: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        if self._connection is None or self._connection.closed:
            self._connection = await self._open(self._dsn)
        return await work(self._connection)


async def _connect(dsn: str) -> Connection:
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=2)
