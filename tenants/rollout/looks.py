"""Reads one replica: how far its schemas are, how they are built, and what their tables lack.

Guarantees two sessions at most for each replica, and one where there are few schemas.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from operator import or_

import psycopg

from regions.errors import ReplicaDown
from regions.topology import CellSpec
from tenants.isolation.owner import Connection, lent_owner
from tenants.rollout.graph import Progress
from tenants.rollout.standing import (
    Standing,
    read_column_digests,
    read_digests,
    read_progress,
    read_unlike,
)

# Of fewer it is known at once where they stand.
MANY = 50


@dataclass(frozen=True, slots=True)
class Found:
    """One replica's schemas: how far they are, their structure, and what tables lack."""

    progress: Mapping[str, Progress] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    unlike: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __or__(self, other: Found) -> Found:
        digests = defaultdict(str, self.digests)
        for schema, digest in other.digests.items():
            digests[schema] += f" {digest}"
        return Found({**self.progress, **other.progress}, digests, {**self.unlike, **other.unlike})

    def standing(self, schema: str) -> Standing:
        return Standing(self.progress[schema], self.unlike.get(schema, ()))


def begin_look(
    pool: Executor, spec: CellSpec, region: str, schemas: Collection[str]
) -> Callable[[], Found]:
    """Begins to read; what is returned waits for it. Where there are many, each core reads half."""
    if len(schemas) < MANY:
        return pool.submit(_look, spec, region, schemas, _tables, _columns, lacking=True).result
    halves = [pool.submit(_look, spec, region, schemas, half) for half in (_columns, _tables)]

    def both() -> Found:
        found = reduce(or_, (half.result() for half in halves))
        with _reaching(spec, region) as connection:
            return found | Found(unlike=read_unlike(connection, found.digests))

    return both


def _look(
    spec: CellSpec,
    region: str,
    schemas: Collection[str],
    *reads: Callable[[Connection, Collection[str]], Found],
    lacking: bool = False,
) -> Found:
    with _reaching(spec, region) as connection:
        found = reduce(or_, (read(connection, schemas) for read in reads))
        if lacking:
            found |= Found(unlike=read_unlike(connection, found.digests))
        return found


def _tables(connection: Connection, schemas: Collection[str]) -> Found:
    return Found(read_progress(connection, schemas), read_digests(connection, schemas))


def _columns(connection: Connection, schemas: Collection[str]) -> Found:
    return Found(digests=read_column_digests(connection, schemas))


@contextmanager
def _reaching(spec: CellSpec, region: str) -> Iterator[Connection]:
    try:
        with lent_owner(spec, region) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise ReplicaDown(
            f"Cell {spec.name!r} can't be reached in {region}, and structure changes in every "
            f"replica or in none: mend it, or leave it for later with --without {region}."
        ) from error
