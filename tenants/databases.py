"""Database aliases of cells, made when they are first needed.

An alias names one cell's replica in one region under one role (`cell:eu-shared@eu-west`). Adding
a cell needs no restart and no settings; connections stay Django's, one a thread and alias.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.conf import settings
from django.db import connections

from regions.current import deployment
from regions.deployment import (
    APP_ROLE,
    CONTROL_CELL,
    CONTROL_DATABASE,
    OWNER_ROLE,
)
from regions.errors import NoWriter
from regions.topology import CellSpec, Lease, TenancyMode, database_name, read_leases
from tenants.backend.pool import process_pool

# The control cell, whoever is in scope; what `default` is depends on that.
CONTROL_ALIAS = "control"

_registering = threading.Lock()
_pinned: ContextVar[str | None] = ContextVar("meridian_pinned_alias", default=None)


def is_cell(alias: str) -> bool:
    return alias.startswith("cell:")


def is_control(alias: str) -> bool:
    """Whether it is the control cell, in whatever region and under whatever role."""
    return re.split("[@:]", alias)[0] == CONTROL_ALIAS


def is_platform(alias: str) -> bool:
    """Whether the platform made it up: apps can't know it."""
    return is_cell(alias) or alias == CONTROL_ALIAS or alias.startswith(f"{CONTROL_ALIAS}@")


def leases() -> dict[str, Lease]:
    """The newest known writer of each leased cell."""
    return read_leases(deployment().map_dirs)


def cell_alias(cell: str, *, region: str | None = None, role: str = APP_ROLE) -> str:
    """The alias of `cell`'s replica in `region`.

    Without a region: this process' own if the cell has a replica there, else the cell's writer.
    """
    from tenants.seams import cell_spec

    if region is None and (pinned := _pinned.get()):
        return pinned
    if region is None:
        region = _usual_region(cell_spec(cell))
    suffix = ":owner" if role == OWNER_ROLE else ""
    alias = f"cell:{cell}@{region}{suffix}"
    if alias not in connections.settings:
        place = {"cell": cell, "mode": cell_spec(cell).mode.value, "region": region, "role": role}
        register(alias, database_name(cell), region, role, place=place)
    return alias


@contextmanager
def pinned_to(alias: str) -> Iterator[None]:
    """Within the block a tenant's cell is reached through this alias by whoever names none: the
    models of a migration are used on the connection that migrates."""
    token = _pinned.set(alias)
    try:
        yield
    finally:
        _pinned.reset(token)


def register_cell(spec: CellSpec, region: str, role: str = APP_ROLE) -> str:
    """The same for a cell that is not in the registry yet."""
    suffix = ":owner" if role == OWNER_ROLE else ""
    alias = f"cell:{spec.name}@{region}{suffix}"
    place = {"cell": spec.name, "mode": spec.mode.value, "region": region, "role": role}
    register(alias, spec.database, region, role, place=place)
    return alias


def control_writer_alias() -> str:
    """The control cell where it can be written now: `control` unless that is in another region."""
    lease = leases().get(CONTROL_CELL)
    if lease is None:
        return CONTROL_ALIAS
    at = deployment().postgres_endpoint(lease.writer)
    nearest = connections.settings[CONTROL_ALIAS]
    if (nearest["HOST"], str(nearest["PORT"])) == (at.host, str(at.port)):
        return CONTROL_ALIAS
    alias = f"{CONTROL_ALIAS}@{lease.writer}"
    register(alias, CONTROL_DATABASE, lease.writer, APP_ROLE)
    return alias


def control_epoch() -> int:
    """The epoch of the control cell's newest known lease; 0 where nobody grants any."""
    lease = leases().get(CONTROL_CELL)
    return lease.epoch if lease else 0


def register(
    alias: str, database: str, region: str, role: str, *, place: dict[str, str] | None = None
) -> None:
    """Make the alias known to Django. Other threads may be walking the old table: replace it."""
    if alias in connections.settings:
        return
    where = deployment()
    in_cell = place is not None and role == APP_ROLE
    endpoint = where.application_endpoint if in_cell else where.postgres_endpoint
    at = endpoint(region, seen_from=settings.MERIDIAN_REGION)
    with _registering:
        if alias in connections.settings:
            return
        entry: dict[str, Any] = {
            **connections.settings[CONTROL_ALIAS],
            "NAME": database,
            "USER": role,
            "PASSWORD": where.password(role),
            "HOST": at.host,
            "PORT": str(at.port),
            "MERIDIAN": place,
        }
        connections.settings = {**connections.settings, alias: entry}


@contextmanager
def together(alias: str) -> Iterator[None]:
    """What is executed in the block is sent without waiting for answers that nobody reads: one
    round trip, and a transaction of its own where there is none. Errors are raised at the end."""
    connection = connections[alias]
    connection.ensure_connection()
    session = connection.connection
    own = not connection.in_atomic_block
    with connection.wrap_database_errors:
        try:
            with session.pipeline():
                if own:
                    session.execute("BEGIN")
                yield
                if own:
                    session.execute("COMMIT")
        except BaseException:
            if own and not session.closed:
                session.rollback()
            raise


def close(alias: str) -> None:
    """End this thread's connection and the process' idle ones: a database can't be dropped under
    them."""
    if alias in connections.settings:
        connection = connections[alias]
        connection.close()
        process_pool().forget(connection.pool_key)  # type: ignore[attr-defined]


def _usual_region(spec: CellSpec) -> str:
    own: str | None = settings.MERIDIAN_REGION
    if own in spec.regions:
        return own
    lease = leases().get(spec.name)
    if lease is not None:
        return lease.writer
    if spec.policy.leased and spec.mode is not TenancyMode.CONTROL and own:
        raise NoWriter(f"Cell {spec.name!r} has no writer now: try again in a few seconds.")
    return spec.regions[0]
