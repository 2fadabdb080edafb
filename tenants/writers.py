"""Where a cell is written now, asked of its replicas themselves."""

from __future__ import annotations

import time
from collections.abc import Mapping

from regions.errors import NoWriter
from regions.topology import CellSpec
from tenants.databases import leases
from tenants.isolation.owner import Connection

PAUSE_SECONDS = 0.1


def wait_for_writer(spec: CellSpec, sessions: Mapping[str, Connection], *, seconds: float) -> str:
    """One of the regions of `sessions` that may write the cell; a new cell has one within seconds.
    Raises NoWriter when there is none for so long."""
    deadline = time.monotonic() + seconds
    while True:
        lease = leases().get(spec.name) if spec.policy.leased else None
        for region in (lease.writer,) if lease else spec.regions:
            if region in sessions:
                row = sessions[region].execute("SELECT fabric.may_write()").fetchone()
                if row and row[0]:
                    return region
        if time.monotonic() > deadline:
            raise NoWriter(f"no region may write cell {spec.name!r} now")
        time.sleep(PAUSE_SECONDS)
