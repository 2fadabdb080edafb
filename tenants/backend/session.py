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

_REFUSAL = (
    "The application may not send this statement in a cell that tenants share: only rows are its "
    "to read and write. Structure is changed by migrations; use select_for_update() or an advisory "
    "lock in place of LOCK, a task in place of NOTIFY, and a dedicated cell or an operator's "
    "session for EXPLAIN."
)

_POOLED = (
    "A pooler shares this session with other tenants' transactions: use SET LOCAL in place of SET, "
    "and Django's `atomic()` in place of BEGIN."
)


class Session:
    """`left_by` is the tenant whose SQL may have left something behind, None for a clean one."""

    __slots__ = ("left_by", "own_database", "pooled")

    def __init__(self, own_database: bool) -> None:
        self.own_database = own_database
        self.left_by: UUID | None = None
        self.pooled: bool | None = None

    def begin(self) -> None:
        """A new session of PostgreSQL: clean."""
        self.left_by = self.pooled = None

    def let_pass(self, message: bytes, connection: PGconn) -> None:
        """Raises InsufficientPrivilege, as the server would, for what must not be sent."""
        verdict = judge(message, own_database=self.own_database)
        if verdict is Verdict.PLAIN:
            return
        if verdict is Verdict.REFUSED:
            raise errors.InsufficientPrivilege(_REFUSAL)
        if self.pooled is None:
            self.pooled = is_pooled(connection)
        if self.pooled:
            raise errors.InsufficientPrivilege(_POOLED)
        tenant = current_tenant_or_none()
        self.left_by = tenant.id if tenant else None

    def is_anothers(self) -> bool:
        """Whether somebody else than the tenant in scope may have left something."""
        if self.left_by is None:
            return False
        tenant = current_tenant_or_none()
        return tenant is None or tenant.id != self.left_by


def is_pooled(connection: PGconn) -> bool:
    """Whether a pooler is in between: it gives its clients process numbers of its own."""
    answer = connection.exec_(b"SELECT pg_catalog.pg_backend_pid()")
    return answer.ntuples == 1 and int(answer.get_value(0, 0) or 0) != connection.backend_pid
