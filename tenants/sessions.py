"""Sessions of the platform's own, kept for a minute for whoever needs the next one: to make one
takes PostgreSQL and us longer than most of what is done in it.

Guarantees that a session is one user's at a time, that it answered just before it was lent, and
that one in which something went wrong is not lent again. Whoever borrows it leaves nothing in it.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

Connection = psycopg.Connection[Any]

KEPT_SECONDS = 60.0

_Shelf = list[tuple[float, Connection]]
# By process: a session must not be used on both sides of a fork.
_kept: dict[tuple[int, str], _Shelf] = defaultdict(list)
_shelving = threading.Lock()


@contextmanager
def lent(dsn: str) -> Iterator[Connection]:
    """An autocommitting session."""
    session = _take(dsn) or psycopg.connect(dsn, autocommit=True, connect_timeout=5)
    try:
        yield session
    except BaseException:
        session.close()
        raise
    if session.info.transaction_status != TransactionStatus.IDLE:
        session.close()
        return
    with _shelving:
        _kept[os.getpid(), dsn].append((time.monotonic(), session))


def _take(dsn: str) -> Connection | None:
    """One that still answers; those that don't, or that nobody has used for long, are closed."""
    while True:
        with _shelving:
            shelf = _kept.get((os.getpid(), dsn))
            if not shelf:
                return None
            since, session = shelf.pop()
        try:
            if time.monotonic() - since < KEPT_SECONDS:
                session.execute("")
                return session
        except psycopg.OperationalError:
            pass
        session.close()
