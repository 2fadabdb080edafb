"""Does the database itself refuse what was not signed for it, and show nothing without a context?

Asked in a session of the application's role, with nothing of the platform in between.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import sql

from tenants.backend.context import sign_context
from tenants.doctor.findings import Finding, Severity

Connection = psycopg.Connection[Any]
NAME = "context"

_REFUSED = "MTN01"
_GUARDED = """
SELECT n.nspname::text, c.relname::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity AND has_table_privilege(c.oid, 'SELECT')
 ORDER BY 1, 2 LIMIT 200
"""


def check(
    application: Connection, where: str, *, key: bytes, other_key: bytes, tenant: UUID | None
) -> Iterator[Finding]:
    """`other_key` is another cell's; `tenant` is one of this cell's, if it has one."""
    someone = tenant or uuid4()
    later, ago = int(time.time()) + 60, int(time.time()) - 1
    genuine = sign_context(key, someone, later)
    forgeries = {
        "a bare tenant id": str(someone),
        "a changed signature": genuine[:-1] + ("0" if genuine[-1] != "0" else "1"),
        "another tenant's id under this signature": genuine.replace(str(someone), str(uuid4())),
        "an expired context": sign_context(key, someone, ago),
        "another cell's context": sign_context(other_key, someone, later),
    }
    for title, context in forgeries.items():
        if _answer(application, context) != _REFUSED:
            yield Finding(
                NAME,
                Severity.DANGER,
                f"The database takes {title} for genuine.",
                "Install the check again: `manage.py cell secure " + where.partition("@")[0] + "`.",
                where,
            )
    if _answer(application, genuine) != str(someone):
        yield Finding(
            NAME,
            Severity.DANGER,
            "The database refuses a genuine context: its key is not the deployment's.",
            "Compare the deployment's master key, then `manage.py cell secure`.",
            where,
        )
    for schema, table in application.execute(_GUARDED).fetchall():
        name = sql.Identifier(schema, table)
        row = application.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(name)).fetchone()
        if row is not None:
            yield Finding(
                NAME,
                Severity.DANGER,
                f"{schema}.{table} shows rows without any context.",
                "Look at its policies: only the platform's may be permissive.",
                where,
            )


def _answer(application: Connection, context: str) -> str | None:
    """The tenant that the database sees, or the SQLSTATE of its refusal."""
    try:
        with application.transaction():
            application.execute(
                sql.SQL("SET LOCAL meridian.context = {}").format(sql.Literal(context))
            )
            row = application.execute("SELECT tenancy.current_tenant()::text").fetchone()
            return row[0] if row else None
    except psycopg.Error as error:
        return error.sqlstate
