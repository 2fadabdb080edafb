"""A tenant's cursor that stays in the database, so that rows come as they are asked for.

Guarantees what `QuerySet.iterator()` promises: the process holds one chunk of the rows and never
all of them. Each chunk is one message that carries the tenant's context, as any statement; it is
refused under another tenant and after the scope. Within a transaction the query goes on with each
chunk and ends with the transaction. Outside of one the server has kept its result (`WITH HOLD`),
and the session is nobody else's until the cursor is closed.

A row's policy is asked when the query comes to the row's table: that may be at any chunk. So no
other tenant's statement runs in the session meanwhile (`tenants.backend.session`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

from psycopg import ClientCursor, Error, InterfaceError, NotSupportedError, sql
from psycopg.pq import TransactionStatus

from tenants.backend.cursor import TenantCursor
from tenants.binding.rules import in_scope, require

if TYPE_CHECKING:
    from psycopg.abc import Params


class TenantStream:
    """A server-side cursor, forward only. `held` keeps its result beyond the transaction."""

    itersize = 100

    def __init__(self, cursor: TenantCursor, name: str, *, held: bool) -> None:
        self._cursor = cursor
        self._name = sql.Identifier(name)
        self._held = held
        self._declared = False
        self._ended = False
        self._owner: UUID | None = None

    def __getattr__(self, name: str) -> Any:
        """`description`, `rowcount` and their like are those of what was fetched last."""
        return getattr(self._cursor, name)

    def execute(self, query: str | sql.Composable, params: Params | None = None) -> TenantStream:
        """Declare it for the query, in one round trip. Its first chunk is empty: it says what
        columns there are, and asks for no row."""
        self._finish()
        hold = sql.SQL("WITH HOLD " if self._held else "")
        declare = sql.SQL("DECLARE {} NO SCROLL CURSOR {}FOR\n").format(self._name, hold)
        text = query if isinstance(query, sql.Composable) else sql.SQL(query)
        describe = sql.SQL("\n;\nFETCH FORWARD 0 FROM {}").format(self._name)
        self._owner = in_scope()
        session = self._cursor.session
        if session is not None and self._owner is not None:
            session.streams[self] = self._owner
        # Not `declare`: that is the platform's own, and known to leave nothing when it is closed.
        self._cursor.unjudged = declare.as_bytes(self._cursor)
        try:
            self._cursor.execute(declare + text + describe, params)
        except Error:  # after any other the server may have it: the session ends with its request
            self._forget()
            raise
        finally:
            self._cursor.unjudged = b""
        self._cursor.nextset()
        self._declared, self._ended = True, False
        return self

    def executemany(self, *arguments: Any, **options: Any) -> None:
        raise NotSupportedError("A server-side cursor is for one query.")

    def scroll(self, *arguments: Any, **options: Any) -> None:
        raise NotSupportedError("A tenant's server-side cursor goes forward only.")

    def fetchone(self) -> Any:
        rows = self.fetchmany(1)
        return rows[0] if rows else None

    def fetchmany(self, size: int = 0) -> list[Any]:
        """The next `size` rows. Raises WrongTenantError and NoTenantError outside of its scope."""
        count = size or self._cursor.arraysize
        rows = self._fetch(sql.Literal(count))
        self._ended = len(rows) < count
        return rows

    def fetchall(self) -> list[Any]:
        rows = self._fetch(sql.SQL("ALL"))
        self._ended = True
        return rows

    def __iter__(self) -> Iterator[Any]:
        while rows := self.fetchmany(self.itersize):
            yield from rows

    def _fetch(self, count: sql.Composable) -> list[Any]:
        require(self._owner, "A server-side cursor")
        if self._ended:
            return []
        if self._cursor.connection.closed:
            raise InterfaceError(
                "The session of this server-side cursor was closed, at the end of its request or "
                "because another tenant's work came between its rows: read what you need of them "
                "before you enter another tenant's scope."
            )
        self._cursor.execute(sql.SQL("FETCH FORWARD {} FROM {}").format(count, self._name))
        return self._cursor.fetchall()

    def close(self) -> None:
        """Allowed in every scope and in none: it ends with what left it behind."""
        try:
            self._finish()
        finally:
            self._cursor.close()

    def __enter__(self) -> TenantStream:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _finish(self) -> None:
        connection = self._cursor.connection
        if not self._declared or connection.closed:
            return
        status = connection.pgconn.transaction_status
        # The transaction that it was in has ended: so has it.
        gone = status == TransactionStatus.IDLE and not self._held
        if gone or status in (TransactionStatus.IDLE, TransactionStatus.INTRANS):
            self._declared = False
            if not gone:
                ClientCursor(connection).execute(sql.SQL("CLOSE {}").format(self._name))
            self._forget()

    def _forget(self) -> None:
        session = self._cursor.session
        if session is not None:
            session.streams.pop(self, None)
