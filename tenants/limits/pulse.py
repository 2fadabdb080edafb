"""A process' chores that nobody waits for: one thread, once a second.

Guarantees that it is there after a fork too, and that it keeps no process alive. Chores deal with
their own errors; one that is surprised ends the thread, and the next `start` begins another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

BEAT_SECONDS = 1.0


class Pulse:
    """`start()` costs a look when it runs already."""

    def __init__(self, *chores: Callable[[], Any], seconds: float = BEAT_SECONDS) -> None:
        self._chores = chores
        self._seconds = seconds
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        thread = self._thread
        if thread is not None and thread.is_alive():
            return
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, daemon=True, name="pulse")
                self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(self._seconds)
            for chore in self._chores:
                chore()
