"""What a cell's replicas are doing now, asked of the servers themselves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg

from regions.deployment import ADMIN_ROLE, APP_ROLE, Deployment
from regions.replication import health
from regions.timetable import parse
from regions.topology import CellSpec, read_leases

PROBE_SECONDS = 2

_OF_HEALTH = (
    "budget",
    "pressed",
    "paused",
    "reseeding",
    "dead_letters",
    "conflicts",
    "verified",
)
_GATE = "SELECT fabric.may_write(), epoch, fabric.kept_closed() FROM fabric.gate"


_HEARD = """
SELECT coalesce(to_timestamp(min(stamp >> 8) / 1000000.0 + 1577836800), clock_timestamp())
  FROM fabric.watermark
"""


def cell_status(deployment: Deployment, spec: CellSpec) -> dict[str, Any]:
    """The document of `cell show`.

    A replica that does not answer within PROBE_SECONDS has `writable` False and nulls.
    `lag_seconds`: the greatest of `lag`, which is by origin (`health`). `verified`: how the
    replicas last compared, as that region knows it.
    """
    with ThreadPoolExecutor(max_workers=len(spec.regions)) as pool:
        asked = list(pool.map(lambda region: _replica(deployment, spec, region), spec.regions))
    found = {document["region"]: known for document, known in asked if known}
    replicas = [document for document, _ in asked]
    for document in replicas:
        region = document["region"]
        if region in found:
            document["lag"] = lag = health.lag(found[region], found, region)
            seconds = [one["seconds"] for one in lag if one["seconds"] is not None]
            document["lag_seconds"] = max(seconds, default=None)
    lease = read_leases(deployment.map_dirs).get(spec.name)
    writer = lease.writer if lease and spec.policy.leased else None
    return {
        "name": spec.name,
        "mode": spec.mode.value,
        "policy": spec.policy.value,
        **turn_document(spec),
        "writer": writer,
        "epoch": max((replica["epoch"] or 0 for replica in replicas), default=0),
        "replicas": replicas,
    }


def turn_document(spec: CellSpec) -> dict[str, Any]:
    """`timetable`, and `turn`: who should write by it now, and who is next; null without one."""
    if not spec.timetable:
        return {"timetable": None, "turn": None}
    turn = parse(spec.timetable).at(datetime.now(UTC))
    known = {"region": turn.region, "since": turn.since, "until": turn.until, "then": turn.then}
    return {"timetable": spec.timetable, "turn": {**known, "reason": turn.reason}}


def heard_until(deployment: Deployment, database: str, region: str) -> datetime | None:
    """Until when everything that the other regions wrote has arrived in `region`, by their own
    clocks; None if that is not known."""
    admin = deployment.dsn(region, database, ADMIN_ROLE)
    with psycopg.connect(admin, connect_timeout=PROBE_SECONDS) as connection:
        row = connection.execute(_HEARD).fetchone()
    return row[0] if row else None


def _replica(
    deployment: Deployment, spec: CellSpec, region: str
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Its part of the document, and what it says of its health; None: it does not answer."""
    admin = deployment.dsn(region, spec.database, ADMIN_ROLE)
    document: dict[str, Any] = {
        "region": region,
        "database": spec.database,
        "dsn_app": deployment.dsn(region, spec.database, APP_ROLE),
        "dsn_admin": admin,
        "up": False,
        "writable": False,
        "epoch": None,
        "barred": None,
        "lag_seconds": None,
        "lag": [],
        "budget": None,
        "pressed": None,
        "paused": None,
        "reseeding": None,
        "dead_letters": None,
        "conflicts": None,
        "verified": None,
    }
    try:
        with psycopg.connect(
            admin, connect_timeout=PROBE_SECONDS, options=f"-c statement_timeout={PROBE_SECONDS}s"
        ) as connection:
            gate = connection.execute(_GATE).fetchone()
            row = connection.execute(health.HEALTH).fetchone()
    except psycopg.Error:
        return document, None
    if gate is None or row is None:
        return document, None
    known = health.document(spec, row[0])
    document |= {
        "up": True,
        "writable": gate[0],
        "epoch": gate[1],
        "barred": gate[2],
        **{name: known[name] for name in _OF_HEALTH},
    }
    return document, known
