"""What a cell's replicas are doing now, asked of the servers themselves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import psycopg

from regions.deployment import ADMIN_ROLE, APP_ROLE, Deployment
from regions.topology import CellSpec, read_leases

PROBE_SECONDS = 2

_STATE = """
SELECT clock_timestamp() < gate.valid_until, gate.epoch,
       (SELECT count(*) FROM fabric.dead_letter),
       (SELECT count(*) FROM fabric.conflict),
       (SELECT max(extract(epoch FROM clock_timestamp())
                   - ((stamp >> 8) / 1000000.0 + 1577836800))
          FROM fabric.watermark)
  FROM fabric.gate
"""


_HEARD = """
SELECT coalesce(to_timestamp(min(stamp >> 8) / 1000000.0 + 1577836800), clock_timestamp())
  FROM fabric.watermark
"""


def cell_status(deployment: Deployment, spec: CellSpec) -> dict[str, Any]:
    """The document of `cell show`.

    A replica that does not answer within PROBE_SECONDS has `writable` False and nulls.
    `lag_seconds`: age of the oldest peer's newest applied heartbeat; peers beat once a second.
    """
    with ThreadPoolExecutor(max_workers=len(spec.regions)) as pool:
        replicas = list(pool.map(lambda region: _replica(deployment, spec, region), spec.regions))
    lease = read_leases(deployment.map_dirs).get(spec.name)
    writer = lease.writer if lease and spec.policy.leased else None
    return {
        "name": spec.name,
        "mode": spec.mode.value,
        "policy": spec.policy.value,
        "writer": writer,
        "epoch": max((replica["epoch"] or 0 for replica in replicas), default=0),
        "replicas": replicas,
    }


def heard_until(deployment: Deployment, database: str, region: str) -> datetime | None:
    """Until when everything that the other regions wrote has arrived in `region`, by their own
    clocks; None if that is not known."""
    admin = deployment.dsn(region, database, ADMIN_ROLE)
    with psycopg.connect(admin, connect_timeout=PROBE_SECONDS) as connection:
        row = connection.execute(_HEARD).fetchone()
    return row[0] if row else None


def _replica(deployment: Deployment, spec: CellSpec, region: str) -> dict[str, Any]:
    admin = deployment.dsn(region, spec.database, ADMIN_ROLE)
    document: dict[str, Any] = {
        "region": region,
        "database": spec.database,
        "dsn_app": deployment.dsn(region, spec.database, APP_ROLE),
        "dsn_admin": admin,
        "up": False,
        "writable": False,
        "epoch": None,
        "lag_seconds": None,
        "dead_letters": None,
        "conflicts": None,
    }
    try:
        with psycopg.connect(
            admin, connect_timeout=PROBE_SECONDS, options=f"-c statement_timeout={PROBE_SECONDS}s"
        ) as connection:
            row = connection.execute(_STATE).fetchone()
    except psycopg.Error:
        return document
    if row is not None:
        writable, epoch, dead_letters, conflicts, lag = row
        document |= {
            "up": True,
            "writable": writable,
            "epoch": epoch,
            "lag_seconds": None if lag is None else round(max(float(lag), 0.0), 3),
            "dead_letters": dead_letters,
            "conflicts": conflicts,
        }
    return document
