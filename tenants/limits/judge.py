"""What is held against what may be held. Pure.

At the limit no row is added, SOFT before it people are warned. Rows that are changed can grow, so
well past a limit of bytes (HARD) they may only be deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tenants.limits.values import Limits

SOFT = 0.8
HARD = 1.2


@dataclass(frozen=True, slots=True)
class Held:
    """What a tenant's tables hold in one replica, and the bytes of its files."""

    rows: int
    bytes: int
    files: int = 0

    @property
    def storage(self) -> int:
        """What the quota of bytes is about."""
        return self.bytes + self.files


@dataclass(frozen=True, slots=True)
class Standing:
    """One quota, and how much of it is used."""

    what: str
    used: int
    allowed: int

    @property
    def share(self) -> float:
        return self.used / self.allowed

    @property
    def state(self) -> str:
        """`ok`, `near` or `over`."""
        if self.used >= self.allowed:
            return "over"
        return "near" if self.share >= SOFT else "ok"

    @property
    def no_updates(self) -> bool:
        return self.what == "bytes" and self.share >= HARD


def standings(held: Held, limits: Limits) -> Iterator[Standing]:
    """One for each quota that the tenant has."""
    if limits.rows is not None:
        yield Standing("rows", held.rows, limits.rows)
    if limits.bytes is not None:
        yield Standing("bytes", held.storage, limits.bytes)


def worst(held: Held, limits: Limits) -> Standing | None:
    """The quota that is used most; None without one."""
    return max(standings(held, limits), key=lambda one: (one.no_updates, one.share), default=None)
