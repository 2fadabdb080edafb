"""What is declared for a cell and kept in each of its replicas, where agents read it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import psycopg
from psycopg import sql

from regions.deployment import AGENT_ROLE, Deployment
from regions.errors import ReplicaDown
from regions.replication.budget import Budget
from regions.topology import CellSpec

CONNECT_SECONDS = 5


def set_interval(deployment: Deployment, spec: CellSpec, every: timedelta | None) -> None:
    """How often replicas are compared from now on; None: never by itself. Raises ReplicaDown
    before it changes any."""
    _declare(deployment, spec, {"verify_every": every})


def set_budget(deployment: Deployment, spec: CellSpec, budget: Budget) -> None:
    """Raises ReplicaDown before it changes any."""
    declared = {"log_budget": budget.log_bytes, "over_budget": budget.over.value}
    _declare(deployment, spec, declared)


def _declare(deployment: Deployment, spec: CellSpec, declared: Mapping[str, object]) -> None:
    asyncio.run(_declare_everywhere(deployment, spec, declared))


async def _declare_everywhere(
    deployment: Deployment, spec: CellSpec, declared: Mapping[str, object]
) -> None:
    statement = sql.SQL("UPDATE fabric.member SET {}").format(
        sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name))
            for name in declared
        )
    )
    sessions: list[psycopg.AsyncConnection[tuple[object, ...]]] = []
    try:
        for region in spec.regions:
            dsn = deployment.dsn(region, spec.database, AGENT_ROLE)
            try:
                sessions.append(
                    await psycopg.AsyncConnection.connect(
                        dsn, autocommit=True, connect_timeout=CONNECT_SECONDS
                    )
                )
            except psycopg.OperationalError as error:
                raise ReplicaDown(
                    f"{spec.name} in {region} does not answer, so nothing was changed"
                ) from error
        for session in sessions:
            await session.execute(statement, declared)
    finally:
        for session in sessions:
            await session.close()
