"""Are a cell's replicas equal? Compares every replicated table, row by row, between regions.

Replicas that are still catching up are looked at again until they agree or the time is up, so
lag is not reported as a difference.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
from psycopg import sql

from regions.deployment import ADMIN_ROLE, Deployment
from regions.errors import ReplicaDown
from regions.topology import CellSpec

Connection = psycopg.Connection[Any]
Digest = dict[str, str]

PAUSE_SECONDS = 0.25
SHOWN = 20  # differing rows named per table


def compare(deployment: Deployment, spec: CellSpec, timeout: float = 10.0) -> dict[str, Any]:
    """{"equal": bool, "differences": [{"table", "key", "regions"}, …]}, `regions` naming who has
    which version of the row (a short digest, or null).

    Raises ReplicaDown, naming the region, when a replica cannot be reached: that is no equality.
    """
    deadline = time.monotonic() + timeout
    with ExitStack() as stack:
        replicas = {
            region: stack.enter_context(_connect(deployment, spec, region))
            for region in spec.regions
        }
        while True:
            differences = list(_differences(replicas))
            if not differences or time.monotonic() >= deadline:
                return {
                    "cell": spec.name,
                    "equal": not differences,
                    "regions": list(replicas),
                    "differences": differences,
                }
            time.sleep(PAUSE_SECONDS)


def _connect(deployment: Deployment, spec: CellSpec, region: str) -> Connection:
    dsn = deployment.dsn(region, spec.database, ADMIN_ROLE)
    try:
        return psycopg.connect(dsn, autocommit=True, connect_timeout=5)
    except psycopg.OperationalError as error:
        raise ReplicaDown(
            f"{spec.name} in {region} does not answer, so it cannot be compared: {error}"
        ) from error


def _differences(replicas: dict[str, Connection]) -> Iterator[dict[str, Any]]:
    relations = {
        region: dict(
            connection.execute("SELECT rel, key FROM fabric.relation ORDER BY rel").fetchall()
        )
        for region, connection in replicas.items()
    }
    for rel in sorted(set().union(*relations.values())):
        lacking = [region for region, known in relations.items() if rel not in known]
        if lacking:
            yield {"table": rel, "key": None, "regions": dict.fromkeys(lacking)}
            continue
        whole = {region: _table(connection, rel) for region, connection in replicas.items()}
        if len(set(whole.values())) > 1:
            yield from _rows_that_differ(replicas, rel, next(iter(relations.values()))[rel])


def _table(connection: Connection, rel: str) -> str:
    """One digest of all rows, in an order that is the same everywhere."""
    row = connection.execute(
        sql.SQL(
            "SELECT encode(sha256(convert_to(coalesce(string_agg(digest, '' ORDER BY digest), ''),"
            " 'UTF8')), 'hex') FROM (SELECT md5(hstore(t)::text) AS digest FROM {} t) AS rows"
        ).format(_identifier(rel))
    ).fetchone()
    return str(row[0]) if row else ""


def _rows_that_differ(
    replicas: dict[str, Connection], rel: str, key: list[str]
) -> Iterator[dict[str, Any]]:
    rows: dict[str, Digest] = {}
    for region, connection in replicas.items():
        found = connection.execute(
            sql.SQL(
                "SELECT (hstore(t) -> %s::text[])::text, md5(hstore(t)::text) FROM {} t"
            ).format(_identifier(rel)),
            (key,),
        )
        rows[region] = dict(found.fetchall())
    shown = 0
    for identity in sorted(set().union(*rows.values())):
        versions = {region: known.get(identity) for region, known in rows.items()}
        if len(set(versions.values())) > 1:
            yield {
                "table": rel,
                "key": identity,
                "regions": {
                    region: digest[:8] if digest else None for region, digest in versions.items()
                },
            }
            shown += 1
            if shown == SHOWN:
                return


def _identifier(rel: str) -> sql.Identifier:
    schema, _, table = rel.partition(".")
    return sql.Identifier(schema, table)
