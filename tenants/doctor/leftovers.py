"""What is on the servers that no tenant and no cell explains?"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import psycopg

from tenants.doctor.findings import Finding, Severity

Connection = psycopg.Connection[Any]
NAME = "leftovers"

_SCHEMAS = r"SELECT nspname::text FROM pg_namespace WHERE nspname ~ '^t_' ORDER BY 1"


def databases(administrator: Connection, region: str, kept: Collection[str]) -> Iterator[Finding]:
    """Databases of cells that are not, or not here."""
    rows = administrator.execute("SELECT datname::text FROM pg_database WHERE datname ~ '^cell_'")
    for (name,) in rows:
        if name not in kept:
            yield Finding(
                NAME,
                Severity.WARNING,
                f"The database {name} belongs to no cell of this region.",
                "`manage.py residency audit` says whether law allows it here; then drop it.",
                region,
            )


def schemas(administrator: Connection, where: str, kept: Collection[str]) -> Iterator[Finding]:
    """Tenants' schemas without a tenant."""
    for (name,) in administrator.execute(_SCHEMAS):
        if name not in kept:
            yield Finding(
                NAME,
                Severity.WARNING,
                f"The schema {name} belongs to no tenant.",
                "Repeat the erasure or the move that left it, or drop it as meridian_owner.",
                where,
            )
