"""Runs probes side by side and never waits longer than it was told.

Guarantees that at most one run of each named probe is under way, so that a region which
swallows packets costs one thread, however many pages ask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What a probe returned, or the sentence that says why there is nothing."""

    value: T | None
    problem: str = ""


class Prober:
    """A bounded pool of threads with one slot a probe name."""

    def __init__(self, workers: int = 32) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="console-probe")
        self._running: dict[str, Future[Any]] = {}
        self._lock = Lock()

    def gather(
        self, probes: Mapping[str, Callable[[], T]], *, timeout: float
    ) -> dict[str, Answer[T]]:
        """Every probe's answer after at most `timeout` seconds; late ones come as problems."""
        futures = {name: self._submit(name, probe) for name, probe in probes.items()}
        wait(futures.values(), timeout=timeout)
        with self._lock:
            for name, future in futures.items():
                # Another page may have taken this answer, and asked again.
                if future.done() and self._running.get(name) is future:
                    del self._running[name]
        return {name: _answer(future, timeout) for name, future in futures.items()}

    def _submit(self, name: str, probe: Callable[[], T]) -> Future[T]:
        """The run under way, or the one that came too late for the last question, or a new one."""
        with self._lock:
            if name not in self._running:
                self._running[name] = self._pool.submit(probe)
            return self._running[name]


def _answer(future: Future[T], timeout: float) -> Answer[T]:
    if not future.done():
        return Answer(None, f"no answer within {timeout:g} s")
    error = future.exception()
    if error is not None:
        first_line = next(iter(str(error).strip().splitlines()), "")
        return Answer(None, first_line or type(error).__name__)
    return Answer(future.result())
