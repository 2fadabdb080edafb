"""A worker's connections: the owner's, one for each replica of the cell it works on.

Bounded by design: a worker that goes to another cell closes what it had.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

import psycopg
from django.conf import settings
from django.db import OperationalError as DjangoOperationalError
from django.db import connections

from regions.current import deployment
from regions.deployment import OWNER_ROLE
from regions.topology import CellSpec
from tenants.databases import register_cell
from tenants.isolation.owner import Connection
from tenants.writers import wait_for_writer

WRITER_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 5.0

# Somebody else held a lock for too long, or the writer changed hands: worth another try.
_PASSING = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)
_LEASE_LOST = "MDF01"

T = TypeVar("T")


class Sessions:
    """Use it in one thread only."""

    def __init__(self) -> None:
        self._cell: str | None = None
        self._open: dict[str, Connection] = {}
        self._aliases: set[str] = set()
        self.attempt = 1

    def of(self, spec: CellSpec, regions: Collection[str]) -> dict[str, Connection]:
        """Autocommitting and idle, by region. Raises psycopg.OperationalError."""
        if self._cell != spec.name:
            self.close()
            self._cell = spec.name
        for region in regions:
            session = self._open.get(region)
            if session is None or session.closed:
                dsn = deployment().dsn(
                    region, spec.database, OWNER_ROLE, seen_from=settings.MERIDIAN_REGION
                )
                with told_of(region):
                    self._open[region] = psycopg.connect(
                        dsn, autocommit=True, connect_timeout=5, prepare_threshold=None
                    )
        return {region: self._open[region] for region in regions}

    def home(self, spec: CellSpec, regions: Sequence[str]) -> str:
        """The one of `regions` where a change of structure begins. Raises NoWriter."""
        if len(regions) == 1:
            return regions[0]
        return writer_of(spec, self.of(spec, regions))

    def alias(self, spec: CellSpec, region: str) -> str:
        """The same for Django."""
        alias = register_cell(spec, region, OWNER_ROLE)
        self._aliases.add(alias)
        return alias

    def roll_back(self) -> None:
        """Whatever was under way did not happen."""
        for session in self._open.values():
            with suppress(psycopg.Error):
                session.rollback()

    def close(self) -> None:
        for session in self._open.values():
            session.close()
        for alias in self._aliases:
            connections[alias].close()
        self._open.clear()
        self._aliases.clear()


@contextmanager
def told_of(region: str) -> Iterator[None]:
    """What is raised says where it was, in a note."""
    try:
        yield
    except psycopg.Error as error:
        error.add_note(region)
        raise


def writer_of(spec: CellSpec, sessions: dict[str, Connection]) -> str:
    """The region where the cell is written now. Raises NoWriter when there is none."""
    return wait_for_writer(spec, sessions, seconds=WRITER_SECONDS)


def trying(work: Callable[[], T], sessions: Sessions, *, attempts: int, pause: float) -> T:
    """`work` again and again, as long as only a lock was in its way. Each pause is about twice
    the one before and never the same for two workers."""
    for attempt in range(1, attempts + 1):
        try:
            return work()
        except (psycopg.Error, DjangoOperationalError) as error:
            sessions.roll_back()
            if attempt == attempts or not _passes(error):
                raise
            sessions.attempt += 1
        except BaseException:
            sessions.roll_back()
            raise
        longest = min(pause * 2**attempt, LONGEST_PAUSE_SECONDS)
        time.sleep(random.uniform(longest / 2, longest))  # noqa: S311 - jitter, not a secret
    raise AssertionError("unreachable")


def _passes(error: BaseException) -> bool:
    cause = error.__cause__ if isinstance(error, DjangoOperationalError) else error
    lost = getattr(cause, "sqlstate", None) == _LEASE_LOST
    return lost or isinstance(cause, _PASSING)
