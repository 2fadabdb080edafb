"""Is a register's history linearizable? After Wing and Gong (1993), with Lowe's (2017) memory of
configurations that have led nowhere. Pure, and knows nothing of what it judges.

An operation seems to happen at one moment between its call and its return. What failed has not
happened. What its client heard nothing of may have happened at any moment after its call, or never.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """A write of `value`, or a read that returned it. `returned` is infinite for a write of which
    nothing was heard. Times in seconds, on one clock."""

    writes: bool
    value: str
    called: float
    returned: float

    def __str__(self) -> str:
        verb = "write" if self.writes else "read"
        until = "?" if math.isinf(self.returned) else f"{self.returned:.3f}"
        return f"{verb} {self.value!r} [{self.called:.3f}, {until}]"


def violation(history: Iterable[Call], initial: str) -> str | None:
    """None if some order explains what was read; else what stands at the place that none gets
    past. Values that are written are unique."""
    read = {call.value for call in history if not call.writes}
    calls = sorted(
        # A write of unknown outcome that nobody has seen can always be taken as not done.
        (call for call in history if not math.isinf(call.returned) or call.value in read),
        key=lambda call: call.called,
    )
    needed = sum(1 << n for n, call in enumerate(calls) if not math.isinf(call.returned))
    furthest = 0
    known = {(0, initial)}
    stack = [(0, initial)]
    while stack:
        done, value = stack.pop()
        if done & needed == needed:
            return None
        if (done & needed).bit_count() > (furthest & needed).bit_count():
            furthest = done
        # The one that has returned first is tried first: it is on top of the stack.
        for n in sorted(_next(calls, done), key=lambda n: -calls[n].returned):
            call = calls[n]
            if not call.writes and call.value != value:
                continue
            step = (done | 1 << n, call.value)
            if step not in known:
                known.add(step)
                stack.append(step)
    return _sentence(calls, furthest)


def _next(calls: Sequence[Call], done: int) -> list[int]:
    """What may come next: called before any of the rest had returned."""
    found: list[int] = []
    first_return = math.inf
    for n, call in enumerate(calls):
        if call.called > first_return:
            break
        if not done >> n & 1:
            found.append(n)
            first_return = min(first_return, call.returned)
    return [n for n in found if calls[n].called <= first_return]


def _sentence(calls: Sequence[Call], furthest: int) -> str:
    stuck = ", ".join(str(calls[n]) for n in _next(calls, furthest))
    before = [call for n, call in enumerate(calls) if furthest >> n & 1]
    last = max(before, key=lambda call: min(call.returned, call.called + 1e6), default=None)
    return f"No order explains {stuck or 'it'} after {last or 'the beginning'}"
