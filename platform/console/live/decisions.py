"""What regions' agents have decided and why, the newest first: each keeps its own in its region's
control database, so it is asked for there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import psycopg

from console.live.probing import Answer
from console.live.regions import CONNECT_SECONDS
from regions.deployment import APP_ROLE, CONTROL_DATABASE, Deployment

MOST = 100  # of each region
_NEWEST = "SELECT at, region, cell, action, reason FROM lease.event ORDER BY id DESC LIMIT %s"


@dataclass(frozen=True, slots=True)
class Decided:
    """`region`'s agent did `action` about a cell."""

    at: datetime
    region: str
    cell: str
    action: str
    reason: str


def read_decisions(
    deployment: Deployment, region: str, seen_from: str | None
) -> tuple[Decided, ...]:
    """Raises psycopg.Error when the region is down."""
    dsn = deployment.dsn(region, CONTROL_DATABASE, APP_ROLE, seen_from=seen_from)
    with psycopg.connect(dsn, connect_timeout=CONNECT_SECONDS, autocommit=True) as connection:
        return tuple(Decided(*row) for row in connection.execute(_NEWEST, (MOST,)).fetchall())


def merged(answers: Iterable[Answer[tuple[Decided, ...]]]) -> tuple[Decided, ...]:
    """Those of the regions that have answered."""
    found = [one for answer in answers for one in answer.value or ()]
    return tuple(sorted(found, key=lambda one: one.at, reverse=True))
