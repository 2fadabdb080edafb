"""PostgreSQL extensions of a cell's database: those that the platform needs, and your apps'.

Guarantees that they are the same in every schema of the database: they are installed in
`pg_catalog`, which every search path includes, before a migration could put them in one tenant's
schema. `CreateExtension` in a migration then finds them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql

# An exclusion constraint of tables that tenants share compares the tenant with `=`.
NEEDED = ("btree_gist",)


def install(administrator: psycopg.Connection[Any], wanted: Iterable[str] = ()) -> None:
    """Safe to repeat; one that is there already stays where it is."""
    for name in dict.fromkeys((*NEEDED, *wanted)):
        administrator.execute(
            sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA pg_catalog").format(
                sql.Identifier(name)
            )
        )
