"""Gives a new tenant of a shared cell the rows that it starts with: copies of the cell's seed.

Guarantees that they have the seed's keys, that all are there or none, that they are in each
replica that can be reached when it returns, and that they are there once if it is repeated.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import Any
from uuid import UUID

import psycopg
from django.conf import settings
from psycopg import sql

from regions import cells
from regions.current import deployment
from regions.deployment import AGENT_ROLE
from regions.replication.settle import settle
from regions.topology import CellSpec
from tenants.directory import TenantRecord
from tenants.isolation.rewrite import SEED, TENANT_COLUMN
from tenants.isolation.seed import KEEP_CHANGES_OUT
from tenants.lifecycle.move_contents import Content, read_contents
from tenants.writers import wait_for_writer

Connection = psycopg.Connection[Any]

WRITER_SECONDS = 30.0
SETTLE_SECONDS = 15.0

# Rows of an earlier attempt.
_CLEAR = "DELETE FROM public.{table} WHERE {column} = {tenant}"
_COPY = """
INSERT INTO public.{table} ({column}, {columns}) OVERRIDING SYSTEM VALUE
SELECT {tenant}, {columns} FROM public.{table} WHERE {column} = {seed}
"""
# What a migration that is under way has done to the seed, it has done to the copy.
_MARKS = """
INSERT INTO public.django_migrations (app, name, applied)
SELECT app, replace(name, {seed}::text, {tenant}::text), now() FROM public.django_migrations
 WHERE name LIKE '%@' || {seed}::text
"""


def sow(tenant: TenantRecord, spec: CellSpec) -> None:
    """Raises NoWriter, NotSettled, or PostgreSQL's error."""
    with ExitStack() as stack:
        sessions = {}
        for region in spec.regions:
            # One that is away hears of it when it returns.
            with suppress(psycopg.OperationalError):
                sessions[region] = stack.enter_context(
                    cells.administrator(deployment(), region, spec.database)
                )
        home = wait_for_writer(spec, sessions, seconds=WRITER_SECONDS)
        statements = _statements(read_contents(sessions[home], "public"), tenant.id)
        dsn = deployment().dsn(home, spec.database, AGENT_ROLE, seen_from=settings.MERIDIAN_REGION)
        with psycopg.connect(dsn, connect_timeout=5) as writer:
            writer.execute(sql.SQL(";\n").join(statements))
        settle(
            sessions,
            cell=spec.name,
            senders=[home],
            receivers=[region for region in sessions if region != home],
            tenant=tenant.id,
            seconds=SETTLE_SECONDS,
            patient=True,
        )


def _statements(contents: list[Content], tenant: UUID) -> list[sql.Composable]:
    names = {
        "column": sql.Identifier(TENANT_COLUMN),
        "tenant": sql.Literal(tenant),
        "seed": sql.Literal(SEED),
    }
    clear, copy = (
        [
            sql.SQL(template).format(
                table=sql.Identifier(content.name),
                columns=sql.SQL(", ").join(map(sql.Identifier, content.columns)),
                **names,
            )
            for content in contents
        ]
        for template in (_CLEAR, _COPY)
    )
    begin = (sql.SQL("SET CONSTRAINTS ALL DEFERRED"), sql.SQL(KEEP_CHANGES_OUT))
    return [*begin, *reversed(clear), *copy, sql.SQL(_MARKS).format(**names)]
