"""Progress for people, on standard error: a spinner while a step runs, a line when it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

Say = Callable[[str], None]


class Progress:
    """Tells what is being done and how long it took. `quiet` says nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)

    @contextmanager
    def step(self, what: str) -> Iterator[Say]:
        """One step; the value tells a detail of it while it runs."""
        began = time.monotonic()
        with self._console.status(f"{what} …") as status:
            yield lambda detail: status.update(f"{what} … {detail}")
        seconds = time.monotonic() - began
        self._console.print(f"[green]✓[/green] {what} [dim]{seconds:.1f} s[/dim]", soft_wrap=True)

    def say(self, what: str) -> None:
        self._console.print(what, soft_wrap=True)
