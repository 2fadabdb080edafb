"""A client-side-binding cursor that sends the tenant's context with each statement.

Guarantees: one message and one round trip a statement, as without tenants; the context ends with
the transaction; whatever can't carry it in one message is preceded by it inside a transaction,
and refused outside of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db.backends.postgresql.base import CursorMixin
from psycopg import ClientCursor, NotSupportedError
from psycopg.pq import TransactionStatus

from tenants.backend.context import CellContext, Prefix
from tenants.backend.session import Session

if TYPE_CHECKING:
    from psycopg import Copy
    from psycopg._queries import PostgresQuery
    from psycopg.abc import Params, Query
    from psycopg.pq.abc import PGresult

# They move within a transaction and touch no row. `ROLLBACK TO` must work in a failed one.
_TRANSACTION_CONTROL = (b"SAVEPOINT ", b"RELEASE SAVEPOINT ", b"ROLLBACK TO SAVEPOINT ")
# Each statement asks: looked up in their enumeration they cost three times what the question does.
_IDLE, _FAILED = TransactionStatus.IDLE, TransactionStatus.INERROR
# By name: to ask `super()` for them costs a statement more than to look up its context.
_send, _take = ClientCursor._execute_send, ClientCursor._set_results


class TenantCursor(CursorMixin, ClientCursor[Any]):
    """`context` and `session` are None on connections that need no tenant."""

    context: CellContext | None = None
    session: Session | None = None
    # What the platform itself put before the statement.
    unjudged = b""
    _skipped = 0

    def _execute_send(
        self, query: PostgresQuery, *, force_extended: bool = False, binary: bool | None = None
    ) -> None:
        if self.session is not None:
            self.session.let_pass(query.query.removeprefix(self.unjudged), self._pgconn)
        prefix = self._prefix(query.query)
        if prefix is None:
            self._skipped = 0
        else:
            if force_extended or self._conn._pipeline:
                raise NotSupportedError(
                    "A tenant's statements use the simple protocol: use execute() instead of "
                    "stream() or a pipeline."
                )
            text, self._skipped = prefix
            query.query = text + query.query
        _send(self, query, force_extended=force_extended, binary=binary)

    def _set_results(self, results: list[PGresult]) -> None:
        # An empty statement has no result of its own.
        _take(self, results[self._skipped :] or results)

    def _prefix(self, statement: bytes) -> Prefix | None:
        context = self.context
        if context is None:
            return None
        status = self._pgconn.transaction_status
        if status != _IDLE:
            # A failed transaction accepts nothing but its end: not even the context.
            if status == _FAILED:
                return None
            if statement.startswith(_TRANSACTION_CONTROL) and b";" not in statement:
                return None
        return context.prefix()

    def executemany(
        self, query: Query, params_seq: Iterable[Params], *, returning: bool = False
    ) -> None:
        """All rows in one message: atomic also outside a transaction block."""
        if self.context is None or self.context.tenant() is None:
            super().executemany(query, params_seq, returning=returning)
            return
        statements = [self.mogrify(query, params) for params in params_seq]
        if not statements:
            return
        self.execute(";\n".join(statements))
        if not returning:
            counts = [result.command_tuples or 0 for result in self._results]
            self._results.clear()
            self.pgresult = None
            self._rowcount = sum(counts)

    @contextmanager
    def copy(
        self, statement: Query, params: Params | None = None, **options: Any
    ) -> Iterator[Copy]:
        """COPY must be alone in its message: the context goes first, within the transaction."""
        prefix = self._prefix(b"")
        if prefix is not None:
            if self._conn.autocommit and self._pgconn.transaction_status == _IDLE:
                raise NotSupportedError(
                    "COPY for a tenant needs a transaction to carry its context: wrap it in "
                    "`transaction.atomic()`."
                )
            self.execute("")
        context, self.context = self.context, None
        try:
            with super().copy(statement, params, **options) as copy:
                yield copy
        finally:
            self.context = context
