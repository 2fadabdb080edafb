"""The seed of a shared cell: the rows that each of its tenants starts with.

What migrations and `post_migrate` handlers write when tables are made belongs to a tenant that
nobody is: it has no host and no row in the registry, and no context is ever signed for it but to
migrate. Onboarding copies its rows (`lifecycle.sow`); later migrations change them first.
"""

from __future__ import annotations

from dataclasses import replace

from psycopg import sql

from regions.topology import CellSpec
from tenants.directory import TenantRecord
from tenants.isolation.catalog import read_tables
from tenants.isolation.owner import Connection
from tenants.isolation.rewrite import SEED, TENANT_COLUMN
from tenants.seams import unborn

# While a migration changes the seed nobody copies it: a copy has all of a change, or none of it.
_LOCK = "hashtextextended('meridian seed', 0)"
KEEP_COPIERS_OUT = f"SELECT pg_catalog.pg_advisory_xact_lock({_LOCK})"
KEEP_CHANGES_OUT = f"SELECT pg_catalog.pg_advisory_xact_lock_shared({_LOCK})"


def record(spec: CellSpec) -> TenantRecord:
    """The cell's seed, as a tenant for whom migrations run."""
    return replace(unborn(SEED, "seed", "public", spec), state="active")


def has_rows(administrator: Connection) -> bool:
    """Whether tenants of this cell start with anything."""
    names = [t.name for t in read_tables(administrator, "public") if TENANT_COLUMN in t.columns]
    if not names:
        return False
    one = sql.SQL("EXISTS (SELECT FROM public.{} WHERE {} = {})")
    column, seed = sql.Identifier(TENANT_COLUMN), sql.Literal(SEED)
    found = administrator.execute(
        sql.SQL("SELECT {}").format(
            sql.SQL(" OR ").join(one.format(sql.Identifier(name), column, seed) for name in names)
        )
    ).fetchone()
    return bool(found and found[0])
