"""How far regions may run apart: a cell's log budget, and what happens beyond it. Pure.

A replica keeps its log for each peer that has not received it, and a peer's for as long as it is
not applied. Both have the cell's budget, in bytes. Where a peer lacks more than that, the declared
way is taken: `let-go` writes on, and the peer is seeded again when it is back; `refuse` slows
writers from half of the budget on, and takes no new writes beyond it, so that about a budget of
writes, and no more, is in one region alone. Of what is not applied no more is received: its sender
keeps it, and has a budget itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

SLOWEST_MS = 500
WARNED_AT = 0.5  # of the budget; a pause ends there, too


class Over(StrEnum):
    """What happens when a peer lacks more of the log than the budget allows."""

    LET_GO = "let-go"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Budget:
    log_bytes: int
    over: Over


@dataclass(frozen=True, slots=True)
class Owed:
    """Log that the peer in `region` has not confirmed. `reading`: it is connected, and takes it."""

    region: str
    log_bytes: int
    reading: bool


@dataclass(frozen=True, slots=True)
class Pressure:
    """`reason`: why writers are slowed by `slowed_ms` a transaction (None: refused); None: they are
    not. `warning`: who is behind, or None. `let_go`: for whom nothing is kept any more."""

    reason: str | None = None
    slowed_ms: int | None = None
    warning: str | None = None
    let_go: tuple[str, ...] = ()


def press(budget: Budget, peers: Collection[Owed]) -> Pressure:
    """A peer that reads is never let go: it may be in the middle of one huge transaction."""
    behind = max(peers, key=lambda owed: owed.log_bytes, default=None)
    if behind is None or behind.log_bytes <= budget.log_bytes * WARNED_AT:
        return Pressure()
    reason = (
        f"{behind.region} lacks {_megabytes(behind.log_bytes)} of the log, and the budget is"
        f" {_megabytes(budget.log_bytes)}"
    )
    if budget.over is Over.LET_GO:
        gone = tuple(p.region for p in peers if p.log_bytes > budget.log_bytes and not p.reading)
        return Pressure(warning=reason, let_go=gone)
    if behind.log_bytes > budget.log_bytes:
        return Pressure(reason, None, reason)
    above = behind.log_bytes / budget.log_bytes - WARNED_AT
    return Pressure(reason, max(1, round(SLOWEST_MS * above / (1 - WARNED_AT))), reason)


def paused(budget: Budget, waiting: Mapping[str, int], now: Collection[str]) -> frozenset[str]:
    """The origins of which nothing is taken: from the budget until half of it. `waiting`: bytes
    that have arrived and are not applied, by origin; `now`: those that are paused."""
    return frozenset(
        origin
        for origin, size in waiting.items()
        if size > budget.log_bytes * (WARNED_AT if origin in now else 1.0)
    )


def _megabytes(size: int) -> str:
    return f"{size / 1_048_576:.1f} MB"
