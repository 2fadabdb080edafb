"""What the platform knows of one pooled session of the application's role.

Guarantees that a statement that the gate refuses is never sent, and that it is known whose SQL may
have left something in the session: no round trip and no query is spent on finding out.
"""

from __future__ import annotations

from uuid import UUID

from psycopg import errors
from psycopg.pq.abc import PGconn

from tenants.backend.gate import Verdict, judge
from tenants.context import current_tenant_or_none
from tenants.errors import WrongTenantError

_REFUSAL = (
    "The application may not send this statement in a cell that tenants share: only rows are its "
    "to read and write. Structure is changed by migrations; use select_for_update() or an advisory "
    "lock in place of LOCK, a task in place of NOTIFY, and a dedicated cell or an operator's "
    "session for EXPLAIN."
)

_MISREAD = (
    "This session reads quotes in another way than the platform does, and might take for a "
    "statement what the platform took for a string: leave standard_conforming_strings on and "
    "client_encoding UTF8, or send one statement at a time."
)

_POOLED = (
    "A pooler shares this session with other tenants' transactions: use SET LOCAL in place of SET, "
    "and Django's `atomic()` in place of BEGIN."
)


_OTHERS = (
    "This session still holds what another tenant left in it, a server-side cursor perhaps: end "
    "that tenant's transaction and iterators before you enter another tenant's scope."
)


class Session:
    """`left_by` is the tenant whose SQL may have left something behind; `streams` are server-side
    cursors that are open, and whose they are."""

    __slots__ = ("left_by", "own_database", "pooled", "streams")

    def __init__(self, own_database: bool) -> None:
        self.own_database = own_database
        self.left_by: UUID | None = None
        self.streams: dict[object, UUID] = {}
        self.pooled: bool | None = None

    def begin(self) -> None:
        """A new session of PostgreSQL: clean."""
        self.left_by = None
        self.streams = {}

    @property
    def owner(self) -> UUID | None:
        """Who has something in it; None: it is clean, and fit for everybody."""
        if self.left_by is None and self.streams:
            return next(iter(self.streams.values()))
        return self.left_by

    def is_pooled(self, connection: PGconn) -> bool:
        """Whether its transactions are spread over PostgreSQL's sessions. Asked once."""
        if self.pooled is None:
            self.pooled = is_pooled(connection)
        return self.pooled

    def let_pass(self, message: bytes, connection: PGconn) -> None:
        """Raises InsufficientPrivilege, as the server would, for what must not be sent, and
        WrongTenantError where another tenant's cursor, or setting, is still there."""
        if self.is_anothers():
            raise WrongTenantError(_OTHERS)
        if b";" in message and not _reads_alike(message, connection):
            raise errors.InsufficientPrivilege(_MISREAD)
        verdict = judge(message, own_database=self.own_database)
        if verdict is Verdict.PLAIN:
            return
        if verdict is Verdict.REFUSED:
            raise errors.InsufficientPrivilege(_REFUSAL)
        if self.is_pooled(connection):
            raise errors.InsufficientPrivilege(_POOLED)
        tenant = current_tenant_or_none()
        self.left_by = tenant.id if tenant else None

    def is_anothers(self) -> bool:
        """Whether somebody else than the tenant in scope has, or may have, left something."""
        if self.left_by is None and not self.streams:
            return False
        tenant = current_tenant_or_none()
        return tenant is None or tenant.id != self.owner


def _reads_alike(message: bytes, connection: PGconn) -> bool:
    """Whether the server finds the ends of strings where the gate does. It tells, with each answer,
    what has become of the two settings on which that depends. A backslash may escape a quote, or be
    the second byte of a letter; without one, and in ASCII, there is one way to read a message."""
    return (
        b"\\" not in message or connection.parameter_status(b"standard_conforming_strings") == b"on"
    ) and (message.isascii() or connection.parameter_status(b"client_encoding") == b"UTF8")


def is_pooled(connection: PGconn) -> bool:
    """Whether a pooler is in between: it gives its clients process numbers of its own."""
    answer = connection.exec_(b"SELECT pg_catalog.pg_backend_pid()")
    return answer.ntuples == 1 and int(answer.get_value(0, 0) or 0) != connection.backend_pid
