"""A run of `cell migrate` on a terminal: a bar with its end in sight."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tenants.rollout.crew import Event
from tenants.rollout.models import RolloutUnit

State = RolloutUnit.State


class Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None
        self._failed = 0

    def begin(self, total: int) -> None:
        self._task = self._progress.add_task("migrating", total=total, failed="")

    def wave(self, number: int, size: int, reason: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, description=f"wave {number}")

    def ended(self, event: Event) -> None:
        if self._task is None:
            return
        if event.state != State.DONE:
            self._failed += 1
            self._progress.console.print(
                f"{event.work.unit.name} {event.state}: {event.error}", markup=False
            )
            self._progress.update(self._task, failed=f"{self._failed} not done")
        self._progress.advance(self._task)


@contextmanager
def bar_on(stream: IO[str]) -> Iterator[Bar]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=stream), transient=True) as progress:
        yield Bar(progress)
