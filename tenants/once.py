"""What a process has one of, made when it is first asked for.

Guarantees that threads that ask first at the same time are given the same one: `functools.cache`
lets each of them make its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """`make()`, called once. A decorator."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._making = threading.Lock()
        # None: there is none yet, and a look at it makes none.
        self.made: T | None = None

    def __call__(self) -> T:
        made = self.made
        if made is None:
            with self._making:
                made = self.made
                if made is None:
                    made = self.made = self._make()
        return made

    def forget(self) -> None:
        """Who asks next is given another one. In a forked child the thread that was making one is
        gone, and would never let the others go on."""
        self._making = threading.Lock()
        self.made = None
