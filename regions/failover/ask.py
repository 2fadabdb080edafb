"""Leaves requests with a region's agent, and watches what comes of them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

import psycopg

from regions.deployment import AGENT_ROLE, CONTROL_DATABASE, Deployment
from regions.errors import SwitchoverFailed
from regions.failover.plan import writer_of
from regions.topology import CellSpec

ASK_SECONDS = 12.0
LOOK_SECONDS = 0.5
# Agents heed none that is older.
_ASKED = """
SELECT cell, target FROM lease.request
 WHERE outcome IS NULL AND at > clock_timestamp() - interval '30 s' ORDER BY at
"""


def ask_holder(
    deployment: Deployment,
    spec: CellSpec,
    source: str,
    target: str,
    *,
    forced: bool,
    tell: Callable[[str], None],
) -> bool:
    """Have the holder's agent hand over. False: nobody there to ask (only when forced)."""
    try:
        outcome = request(deployment, spec, source, target, "hand_over", forced=forced)
    except psycopg.OperationalError as error:
        if forced:
            return False
        raise SwitchoverFailed(f"{source} cannot be reached: {error}") from error
    if outcome == "done":
        tell(f"{source} has fenced itself, drained and let go")
        return True
    if not forced:
        raise SwitchoverFailed(
            f"{outcome or f'{source} did not answer.'} {source} goes on writing."
        )
    return False


def request(
    deployment: Deployment,
    spec: CellSpec,
    region: str,
    target: str,
    kind: str,
    *,
    forced: bool,
) -> str | None:
    """Leave a request with `region`'s agent; for a hand-over, wait for its outcome. It is done,
    too, when somebody else's has brought the cell there: agents heed the newest of a cell."""
    identity = uuid.uuid4()
    with psycopg.connect(
        deployment.dsn(region, CONTROL_DATABASE, AGENT_ROLE),
        autocommit=True,
        connect_timeout=2,
        options="-c statement_timeout=2s",
    ) as connection:
        connection.execute(
            "INSERT INTO lease.request (id, cell, target, kind, forced)"
            " VALUES (%s, %s, %s, %s, %s)",
            (identity, spec.name, target, kind, forced),
        )
        look = time.monotonic() + LOOK_SECONDS
        deadline = time.monotonic() + (ASK_SECONDS if kind == "hand_over" else 0)
        while time.monotonic() < deadline:
            row = connection.execute(
                "SELECT outcome FROM lease.request WHERE id = %s", (identity,)
            ).fetchone()
            if row and row[0]:
                return str(row[0])
            if time.monotonic() > look:
                if writer_of(deployment, spec) == target:
                    return "done"
                look = time.monotonic() + LOOK_SECONDS
            time.sleep(0.02)
    return None


def asked_now(deployment: Deployment) -> list[str]:
    """What operators have asked agents for and is not done, as those regions know that answer."""
    found = []
    for region in deployment.regions:
        try:
            with psycopg.connect(
                deployment.dsn(region, CONTROL_DATABASE, AGENT_ROLE), connect_timeout=2
            ) as connection:
                found += connection.execute(_ASKED).fetchall()
        except psycopg.Error:
            continue
    return [f"{cell} is to be written by {target}" for cell, target in found]


def await_gate(deployment: Deployment, spec: CellSpec, target: str) -> None:
    deadline = time.monotonic() + ASK_SECONDS + deployment.lease_ttl_seconds
    with psycopg.connect(
        deployment.dsn(target, spec.database, AGENT_ROLE), autocommit=True, connect_timeout=2
    ) as connection:
        while time.monotonic() < deadline:
            row = connection.execute("SELECT fabric.may_write()").fetchone()
            if row and row[0]:
                return
            time.sleep(0.01)
    raise SwitchoverFailed(
        f"{target} did not get the lease on {spec.name}: its present holder still renews it, or "
        "no majority of regions can be reached. Nothing was lost."
    )
