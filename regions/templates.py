"""Templates: databases that nobody can connect to, of which new cells' databases are copies.

A copy is a few thousand entries of a server's log and no change of a catalog. To make the same
tables by statements is seventy thousand entries, and forty thousand notices that a catalog has
changed: every sender of the server reads them all and every session hears of it, for each cell
that is there.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql

from regions import cells
from regions.deployment import OWNER_ROLE, Deployment
from regions.replication import install, transport
from regions.topology import CellSpec

Connection = psycopg.Connection[Any]

_OLDER = "SELECT datname FROM pg_database WHERE datistemplate AND datname ^@ %s AND datname <> %s"


def version() -> str:
    """Of all that this package puts into a cell's database."""
    found = hashlib.sha256(install.version().encode())
    for module in ("cells.py", "replication/install.py"):
        found.update(resources.files("regions").joinpath(module).read_bytes())
    return found.hexdigest()


def begin(deployment: Deployment, spec: CellSpec, region: str) -> None:
    """The database of a cell that is none, to be filled and then sealed; what an earlier attempt
    has left of it is dropped."""
    with cells.administrator(deployment, region) as admin:
        if cells.database_exists(admin, spec.database):
            _drop(admin, spec.database)
        cells.create_database(admin, spec)
    cells.lay(deployment, spec, region)


def seal(deployment: Deployment, spec: CellSpec, region: str, template: str, *, kind: str) -> None:
    """From now on it is this template, and replaces others whose names begin with `kind`."""
    with cells.administrator(deployment, region, spec.database) as session:
        install.dismiss(session)
    database = sql.Identifier(spec.database)
    with cells.administrator(deployment, region) as admin:
        admin.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false IS_TEMPLATE true").format(database)
        )
        cells.end_sessions(admin, spec.database, milliseconds=5_000)
        for (name,) in admin.execute(_OLDER, (kind, template)).fetchall():
            _drop(admin, name)
        # Last: under this name it is whole.
        admin.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(database, sql.Identifier(template))
        )


def copy(deployment: Deployment, spec: CellSpec, region: str, template: str) -> None:
    """The cell's database, of the template's content, and a replica of the cell."""
    with cells.administrator(deployment, region) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                *map(sql.Identifier, (spec.database, template, OWNER_ROLE))
            )
        )
        cells.admit(admin, spec.database)
        transport.ensure_role(admin, deployment, spec)
    with cells.administrator(deployment, region, spec.database) as session:
        install.become_owner(session)
        with session.transaction():
            node = deployment.region(region).node
            install.enrol(session, spec, region=region, node=node)


def _drop(admin: Connection, database: str) -> None:
    name = sql.Identifier(database)
    admin.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(name))
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
