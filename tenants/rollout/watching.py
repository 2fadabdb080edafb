"""What an operator sees while a run is at work: a bar on a terminal, or lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from tenants.rollout.crew import Event
from tenants.rollout.models import RolloutUnit

if TYPE_CHECKING:
    from tenants.rollout.bar import Bar

LINE_SECONDS = 5.0
State = RolloutUnit.State


class Lines:
    """For a log: the waves, every failure, and from time to time how far it is."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._total = self._done = self._failed = 0
        self._began = self._said = time.monotonic()

    def begin(self, total: int) -> None:
        self._total = total
        self._began = self._said = time.monotonic()

    def wave(self, number: int, size: int, reason: str) -> None:
        self._say(f"wave {number}: {size} ({reason})")

    def ended(self, event: Event) -> None:
        if event.state == State.DONE:
            self._done += 1
        else:
            self._failed += 1
            self._say(f"{event.work.unit.name} {event.state}: {event.error}")
        now = time.monotonic()
        if now - self._said > LINE_SECONDS:
            self._said = now
            ended = self._done + self._failed
            left = (now - self._began) / ended * (self._total - ended)
            self._say(
                f"{ended} of {self._total}, {self._failed} not done; about {left:.0f} s to go"
            )


@contextmanager
def watching(stream: IO[str], say: Callable[[str], None]) -> Iterator[Lines | Bar]:
    """On standard error: standard output stays for the result."""
    if not stream.isatty():
        yield Lines(say)
        return
    # It takes a tenth of a second to load what draws it.
    from tenants.rollout.bar import bar_on

    with bar_on(stream) as bar:
        yield bar
