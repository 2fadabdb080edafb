"""How often a tenant may ask: the generic cell rate algorithm (GCRA), on a clock that is given.

Guarantees that in any stretch of time no more is let in than `burst` and what the rate brings in
that time. Pure; `admission.lua` does the same in the region's store, and this is what a process
falls back to without it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Draw:
    """`left`: how many more may come right now. `wait` and `full` are microseconds: until the
    next one may come, and until the whole burst may."""

    admitted: bool
    left: int
    wait: int
    full: int
    due: int


def draw(due: int, now: int, *, interval: int, burst: int) -> Draw:
    """One request. `due`: when the bucket is full again, as the last draw left it (0: never
    drawn); `interval`: microseconds a request."""
    window = interval * burst
    start = max(due, now)
    if start > now + window:
        # The clock was set back, or the limit was raised: an empty bucket, but for this request.
        start = now + window - interval
    over = start + interval - now - window
    if over > 0:
        return Draw(False, 0, over, start - now, start)
    return Draw(True, -over // interval, 0, start + interval - now, start + interval)
