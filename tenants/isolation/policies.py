"""Row-level security of tenant tables, the same in all three modes: pure, from tables to SQL.

Guarantees that without a genuine context no row can be seen or written, by the application role
and by the tables' owner alike. `(SELECT …)` makes the check once a statement, not once a row.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from regions.deployment import AGENT_ROLE, APP_ROLE, OWNER_ROLE
from tenants.isolation.catalog import Table
from tenants.isolation.rewrite import TENANT_COLUMN, qualified, quote

POLICY = "tenant_rows"
_CURRENT = "(SELECT tenancy.current_tenant())"


def secure_tables(tables: Iterable[Table], tenant: UUID | None) -> list[str]:
    """Statements that put `tables` under the tenant's policy (None: each row's own tenant)."""
    check = f"{TENANT_COLUMN} = {_CURRENT}" if tenant is None else f"{_CURRENT} = '{tenant}'::uuid"
    statements = []
    for table in tables:
        name = qualified(table)
        if not table.forced:
            statements.append(
                f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
            )
        if POLICY not in table.policies:
            statements.append(
                f"CREATE POLICY {POLICY} ON {name} TO {APP_ROLE}, {OWNER_ROLE} "
                f"USING ({check}) WITH CHECK ({check})"
            )
    return statements


def restrict_reference_tables(schema: str, tables: Iterable[str]) -> list[str]:
    """Models and permissions are part of the code: the application only reads them."""
    return _revoke("INSERT, UPDATE, DELETE, TRUNCATE ON", schema, tables)


def restrict_sequences(schema: str, sequences: Iterable[str]) -> list[str]:
    """Identity columns draw by themselves; for the rest there is a stand-in (`standin.sql`)."""
    return _revoke("ALL ON SEQUENCE", schema, sequences)


def _revoke(what: str, schema: str, names: Iterable[str]) -> list[str]:
    listed = ", ".join(f"{quote(schema)}.{quote(name)}" for name in sorted(names))
    return [f"REVOKE {what} {listed} FROM {APP_ROLE}"] if listed else []


def open_schema(schema: str) -> list[str]:
    """The schema itself shows nothing; the rows in it are what the policies guard."""
    return [
        f"REVOKE ALL ON SCHEMA {quote(schema)} FROM PUBLIC",
        f"GRANT USAGE ON SCHEMA {quote(schema)} TO {APP_ROLE}, {AGENT_ROLE}",
    ]
