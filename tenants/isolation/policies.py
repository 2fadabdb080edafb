"""Row-level security of tenant tables, the same in all three modes: pure, from tables to SQL.

Guarantees that without a genuine context no row can be seen or written, by the application role
and by the tables' owner alike. `(SELECT …)` makes the check once a statement, not once a row.

Where a table is one tenant's, the policy admits all of its rows or none, and the planner must not
think that it admits few: of `(SELECT …) = '<tenant>'` it expects one row in two hundred, and so
reads and sorts a table whose index it would have used. `… IS NOT NULL` leaves its estimates alone.
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
    check = f"{TENANT_COLUMN} = {_CURRENT}" if tenant is None else _is_in_context(tenant)
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
        elif tenant is not None and _plain(table.policies[POLICY]) == _earlier(tenant):
            statements.append(
                f"ALTER POLICY {POLICY} ON {name} USING ({check}) WITH CHECK ({check})"
            )
    return statements


def _is_in_context(tenant: UUID) -> str:
    return f"(SELECT true WHERE tenancy.current_tenant() = '{tenant}'::uuid) IS NOT NULL"


def _earlier(tenant: UUID) -> str:
    """What earlier versions made: as safe, but the planner misjudged it."""
    return f"((SELECT tenancy.current_tenant()) = '{tenant}'::uuid)"


def guards(expression: str, tenant: UUID | None) -> bool:
    """Whether a policy's expression, as the catalog shows it, compares the tenant in context with
    the row's (`tenant`: None), or with whose table it is."""
    if tenant is None:
        return _plain(expression) == f"({TENANT_COLUMN} = {_CURRENT})"
    now = f"((SELECT true WHERE (tenancy.current_tenant() = '{tenant}'::uuid)) IS NOT NULL)"
    return _plain(expression) in (now, _earlier(tenant))


def _plain(expression: str) -> str:
    """As one writes it: the catalog has line breaks, and names columns."""
    plain = " ".join(expression.split()).replace(" AS current_tenant", "")
    return plain.replace("( SELECT", "(SELECT")


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
