"""What the platform knows of one pooled session of the application's role.

Guarantees that a statement that the gate refuses is never sent, and that it is known whose SQL may
have left something in the session: no round trip and no query is spent on finding out.
"""

from __future__ import annotations

from uuid import UUID

from psycopg import errors

from tenants.backend.gate import Verdict, judge
from tenants.context import current_tenant_or_none

_REFUSAL = (
    "The application may not send this statement in a cell that tenants share: only rows are its "
    "to read and write. Structure is changed by migrations; use select_for_update() or an advisory "
    "lock in place of LOCK, and a dedicated cell or an operator's session for EXPLAIN."
)


class Session:
    """`left_by` is the tenant whose SQL may have left something behind, None for a clean one."""

    __slots__ = ("left_by", "own_database")

    def __init__(self, own_database: bool) -> None:
        self.own_database = own_database
        self.left_by: UUID | None = None

    def begin(self) -> None:
        """A new session of PostgreSQL: clean."""
        self.left_by = None

    def let_pass(self, message: bytes) -> None:
        """Raises InsufficientPrivilege, as the server would, for what must not be sent."""
        verdict = judge(message, own_database=self.own_database)
        if verdict is Verdict.PLAIN:
            return
        if verdict is Verdict.REFUSED:
            raise errors.InsufficientPrivilege(_REFUSAL)
        tenant = current_tenant_or_none()
        self.left_by = tenant.id if tenant else None

    def is_anothers(self) -> bool:
        """Whether somebody else than the tenant in scope may have left something."""
        if self.left_by is None:
            return False
        tenant = current_tenant_or_none()
        return tenant is None or tenant.id != self.left_by
