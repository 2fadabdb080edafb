"""How many at once, and when to stop: pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tenants.errors import InvalidRequest

_SHARE = re.compile(r"(\d+)(%?)")


@dataclass(frozen=True, slots=True)
class Share:
    """A number of units, or a part of all."""

    number: int
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Share:
        """`3` or `10%`. Raises InvalidRequest."""
        match = _SHARE.fullmatch(text.strip())
        if match is None or (match.group(2) and int(match.group(1)) > 100):
            raise InvalidRequest(f"{text!r} is neither a number nor a percentage such as 10%.")
        return cls(int(match.group(1)), bool(match.group(2)))

    def of(self, total: int) -> int:
        """Rounded up: some of a few is at least one."""
        return math.ceil(total * self.number / 100) if self.percent else min(self.number, total)

    def __str__(self) -> str:
        return f"{self.number}{'%' if self.percent else ''}"


@dataclass(frozen=True, slots=True)
class Pace:
    """`canary`: so many must succeed before the rest begins. `wave`: so many are handed out at
    once. `halt_after`: more failures than this end the run."""

    canary: Share = Share(1)
    wave: Share = Share(25, percent=True)
    halt_after: Share = Share(10, percent=True)

    MOST = 500  # of one wave: each holds a lock of the control cell


@dataclass(frozen=True, slots=True)
class Decision:
    """`size` units come next; or none because of `halt`, or until those `wait` for have ended."""

    size: int
    reason: str
    halt: bool = False
    wait: bool = False


def decide(pace: Pace, *, total: int, done: int, failed: int, under_way: int = 0) -> Decision:
    """What comes next when `done` have succeeded and `failed` have not, of `total`. The last
    `under_way` are waited for only if they could still end the run."""
    left = total - done - failed - under_way
    canary = pace.canary.of(total)
    allowed = pace.halt_after.of(total)
    if left and done < canary and failed > canary:
        return Decision(
            0, f"{failed} of the first {done + failed} failed: nobody else is tried", True
        )
    if left and failed > allowed:
        return Decision(0, f"{failed} failed, and at most {allowed} of {total} may", True)
    if under_way and (done < canary or failed + under_way > allowed):
        return Decision(0, f"it depends on the {under_way} that are under way", wait=True)
    if done < canary:
        return Decision(min(canary - done, left, Pace.MOST), f"canary, {canary - done} to go")
    size = max(1, min(pace.wave.of(total), Pace.MOST))
    return Decision(min(size, left), f"{left} to go")


def sizes_without_failures(pace: Pace, total: int) -> Iterator[int]:
    """The waves, if all goes well."""
    done = 0
    while done < total:
        size = decide(pace, total=total, done=done, failed=0).size
        yield size
        done += size
