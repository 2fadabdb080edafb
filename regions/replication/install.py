"""Installs the fabric in one cell database, and the lease acceptor in a control database.

Idempotent, over what earlier versions made, too; runs as the owner, so the application role can
touch none of it.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql

from regions.deployment import AGENT_ROLE, APP_ROLE, OWNER_ROLE
from regions.replication.capture import attach_table
from regions.topology import CellSpec

Connection = psycopg.Connection[Any]

PUBLICATION = "fabric"
SCRIPTS = ("fabric.sql", "merge.sql", "rules.sql", "sets.sql", "capture.sql", "escrow.sql")
PUBLISHED = ("origin", "seq", "xact", "stamp", "epoch", "op", "lead", "tenant", "rel", "size",
             "names", "rows")  # fmt: skip
LOCK_MS = 400
ATTEMPTS = 20
REPLICATED = ("probe", "restored", "task", "want")  # the fabric's own tables that peers get

_TABLES = """
SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('fabric') AND relkind = 'r'
 ORDER BY 1
"""

CALLABLE_BY_APP = (
    "fabric.commit_position()",
    "fabric.confirmed_by(pg_lsn)",
    "fabric.differing(record, record)",
    "fabric.has_reached(jsonb)",
    "fabric.kept_values(jsonb)",
    "fabric.may_write()",
    "fabric.position()",
    "fabric.rights_held(jsonb, bigint, numeric, numeric)",
    "fabric.write_probe(uuid)",
)


def script(name: str) -> sql.SQL:
    """One of this package's SQL files."""
    # The text is this package's own: nothing from outside is ever part of it.
    text = resources.files("regions.replication").joinpath("sql", name).read_text()
    return sql.SQL(text)


def install(connection: Connection, spec: CellSpec, *, region: str, node: int) -> None:
    """Make this database a replica of `spec` in `region`, whose stamps carry `node`. Raises
    psycopg.errors.LockNotAvailable when somebody holds on to the fabric's tables."""

    def work() -> None:
        lay(connection)
        enrol(connection, spec, region=region, node=node)

    in_one_go(connection, work)


def enrol(connection: Connection, spec: CellSpec, *, region: str, node: int) -> None:
    """Where the fabric is: whose replica this database is."""
    connection.execute(
        "INSERT INTO fabric.member (cell, region, node, version) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (single) DO NOTHING",
        (spec.name, region, node, version()),
    )
    connection.execute("UPDATE fabric.gate SET node = m.node FROM fabric.member m")
    if not spec.policy.leased:
        connection.execute("UPDATE fabric.gate SET valid_until = 'infinity'")


def dismiss(connection: Connection) -> None:
    """This database is nobody's replica any more."""
    connection.execute("DELETE FROM fabric.member")
    connection.execute("UPDATE fabric.gate SET node = NULL, valid_until = '-infinity'")


def in_one_go(connection: Connection, work: Callable[[], None]) -> None:
    """`work`, in a transaction that has the fabric's tables for itself, in a database in use.
    Writers wait behind it for less time than PostgreSQL takes to look for a deadlock: it is never
    their transaction that ends, but this one, which begins again."""
    left = ATTEMPTS
    while left:
        left -= 1
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = {LOCK_MS}".encode())
                if tables := connection.execute(_TABLES).fetchall():
                    names = sql.SQL(", ").join(sql.Identifier("fabric", name) for (name,) in tables)
                    connection.execute(sql.SQL("LOCK TABLE {}").format(names))
                work()
            break
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if not left:
                raise
            time.sleep(random.uniform(LOCK_MS / 1000, LOCK_MS / 500))  # noqa: S311 - jitter


def lay(connection: Connection) -> None:
    """This version's tables and functions, where there are none, or an earlier version's. Within
    `in_one_go`."""
    for name in SCRIPTS:
        connection.execute(script(name))
    grant(connection)
    for table in REPLICATED:
        attach_table(connection, "fabric", table)
    create_publication(connection)
    connection.execute("UPDATE fabric.member SET version = %s", (version(),))


@cache
def version() -> str:
    """Which version of the scripts this is."""
    texts = (script(name).as_string() for name in SCRIPTS)
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]


def install_leases(connection: Connection) -> None:
    """Make the control database `connection` is on an acceptor of leases."""
    connection.execute(script("lease.sql"))
    connection.execute(
        sql.SQL(
            "GRANT USAGE ON SCHEMA lease TO {agent}, {app};"
            "REVOKE ALL ON ALL TABLES IN SCHEMA lease FROM {app};"
            "GRANT ALL ON ALL TABLES IN SCHEMA lease TO {agent};"
            "GRANT SELECT ON lease.event TO {app}"
        ).format(agent=sql.Identifier(AGENT_ROLE), app=sql.Identifier(APP_ROLE))
    )


def grant(connection: Connection) -> None:
    """The agent works on everything in `fabric`; the application calls a few functions."""
    names = {"agent": sql.Identifier(AGENT_ROLE), "app": sql.Identifier(APP_ROLE)}
    connection.execute(
        sql.SQL(
            "REVOKE ALL ON ALL FUNCTIONS IN SCHEMA fabric FROM PUBLIC;"
            "GRANT USAGE ON SCHEMA fabric TO {agent}, {app};"
            "GRANT ALL ON ALL TABLES IN SCHEMA fabric TO {agent};"
            "REVOKE ALL ON ALL TABLES IN SCHEMA fabric FROM {app};"
            "GRANT ALL ON ALL SEQUENCES IN SCHEMA fabric TO {agent};"
            "REVOKE ALL ON ALL SEQUENCES IN SCHEMA fabric FROM {app};"
            "GRANT SELECT ON SEQUENCE fabric.stamp TO {app};"  # currval, and not nextval
            "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA fabric TO {agent}"
        ).format(**names)
    )
    for function in CALLABLE_BY_APP:
        connection.execute(
            sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(
                sql.SQL(function),
                names["app"],
            )
        )


def create_publication(connection: Connection) -> None:
    """Publish the log's inserts; `arrival` is left out, so each receiver numbers its own. Each
    entry is sent as it was published when it was written, though it was for a peer that is away."""
    name, columns = sql.Identifier(PUBLICATION), sql.SQL(", ").join(map(sql.Identifier, PUBLISHED))
    known = connection.execute(
        "SELECT attnames FROM pg_publication_tables WHERE pubname = %s", (PUBLICATION,)
    ).fetchone()
    if known is None:
        connection.execute(
            sql.SQL(
                "CREATE PUBLICATION {} FOR TABLE fabric.change ({}) WITH (publish = 'insert')"
            ).format(name, columns)
        )
    elif set(known[0]) != set(PUBLISHED):
        connection.execute(
            sql.SQL("ALTER PUBLICATION {} SET TABLE fabric.change ({})").format(name, columns)
        )


def become_owner(connection: Connection) -> None:
    """Let an administrator's session create objects that belong to the owner role."""
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER_ROLE)))
