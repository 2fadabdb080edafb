"""A database put back as it was: dropped, and copied from its template.

For databases of one replica: a subscription of another region would not survive it.
"""

from __future__ import annotations

from psycopg import sql

from regions import cells
from regions.current import deployment
from regions.deployment import OWNER_ROLE
from regions.topology import CellSpec
from tenants.databases import cell_alias, close

SUFFIX = "_template"
END_MS = 300_000


def keep(spec: CellSpec) -> None:
    """The cell's database as it is now is its template, unless it has one."""
    region = _only_region(spec)
    template = spec.database + SUFFIX
    close(cell_alias(spec.name, region=region))
    with cells.administrator(deployment(), region) as admin:
        found = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (template,))
        if found.fetchone() is None:
            _copy(admin, spec.database, template)


def put_back(spec: CellSpec) -> None:
    """As `keep` found it, and nobody is connected to it."""
    region = _only_region(spec)
    close(cell_alias(spec.name, region=region))
    with cells.administrator(deployment(), region) as admin:
        database = sql.Identifier(spec.database)
        cells.end_sessions(admin, spec.database, milliseconds=END_MS)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))
        _copy(admin, spec.database + SUFFIX, spec.database)
        # A copy has everything but who may connect.
        cells.admit(admin, spec.database)


def _only_region(spec: CellSpec) -> str:
    (region,) = spec.regions
    return region


def _copy(admin: cells.Connection, source: str, target: str) -> None:
    cells.end_sessions(admin, source, milliseconds=END_MS)
    names = [sql.Identifier(name) for name in (target, OWNER_ROLE, source)]
    # As files: else each page goes through the log, which every replica's sender has to read.
    words = "CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY file_copy"
    admin.execute(sql.SQL(words).format(*names))
