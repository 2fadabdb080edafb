"""What the statements of this code are for: a request's route, or a task.

For whoever reads the server's activity or log. Guarantees that a label can't leave the comment that
it is put into, whatever it says, and that it names what the code has (a pattern of paths, a task's
name), never what a client has sent. Labels are written as sqlcommenter does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache
from urllib.parse import quote

LONGEST = 120

Label = Callable[[], bytes]


def _nothing() -> bytes:
    return b""


_current: ContextVar[Label] = ContextVar("meridian_work", default=_nothing)


class working_on:
    """Within the block statements carry the label: what it returns at the time, so that it may be
    known later than the block begins."""

    # Entered once a request, as a tenant's scope is.
    __slots__ = ("_label", "_token")

    def __init__(self, label: Label) -> None:
        self._label = label

    def __enter__(self) -> None:
        self._token = _current.set(self._label)

    def __exit__(self, *raised: object) -> None:
        _current.reset(self._token)


def current_label() -> bytes:
    """`route='tickets/%3Cint%3Aid%3E',`; nothing outside of such work."""
    return _current.get()()


@lru_cache(maxsize=4096)
def label(name: str, value: str) -> bytes:
    """One label, and the comma behind it. A long value is cut."""
    return f"{name}='{quoted(value)}',".encode()


def quoted(value: str) -> str:
    """Percent-encoded: no quote, star, backslash, semicolon or line is left in it."""
    return quote(value, errors="replace")[:LONGEST]
