"""The fencing token of the task that runs: it goes out with each of its statements.

Guarantees that what a task commits carries the claim that its worker has on it, so that the
database can refuse it once another worker has begun the task (`fabric.require_claim`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID

# A commit under another claim than the newest; under another lease than the newest.
TAKEN_OVER = "MDF03"
FENCED = frozenset({"MDF01", TAKEN_OVER})


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's on a task. `number` grows with each that begins it."""

    tenant: UUID
    task_id: str
    number: int

    @property
    def statement(self) -> bytes:
        """What puts a transaction under it. It ends its line, and no task's id can leave it."""
        token = f"{self.tenant.hex}.{self.number}.{self.task_id.encode().hex()}"
        return f"SET LOCAL fabric.claim = '{token}';\n".encode()


_current: ContextVar[Claim | None] = ContextVar("meridian_claim", default=None)


@contextmanager
def fenced_by(claim: Claim | None) -> Iterator[None]:
    """Within the block statements carry the claim."""
    token = _current.set(claim)
    try:
        yield
    finally:
        _current.reset(token)


# Asked before each statement: the variable itself, without a function around it.
claim_in_scope: Callable[[], Claim | None] = _current.get


def current_claim(tenant: UUID) -> Claim | None:
    """The claim that the tenant's statements carry; not those that a task makes for another."""
    claim = claim_in_scope()
    return claim if claim is not None and claim.tenant == tenant else None


def is_fenced(error: BaseException | None) -> bool:
    """Whether the database refused a commit because somebody else may make it now."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if getattr(error, "sqlstate", None) in FENCED:
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
