"""Is every table of every tenant behind its policy, every key and index the tenant's own, and every
change of it captured?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
from django.conf import settings

from regions.replication import capture
from regions.replication.captured import read_captured
from tenants.doctor.findings import Finding, Severity
from tenants.isolation.base import missing
from tenants.isolation.catalog import REFERENCE_TABLES, read_open_counters
from tenants.isolation.policies import POLICY, guards

Connection = psycopg.Connection[Any]
NAME = "tables"

_POLICIES = """
SELECT c.relname::text, p.polname::text, p.polpermissive, p.polcmd::text,
       p.polroles = '{0}' OR EXISTS (SELECT FROM unnest(p.polroles) r
                                      WHERE r = 'meridian_app'::regrole) AS applies,
       coalesce(pg_get_expr(p.polqual, p.polrelid), 'true'),
       coalesce(pg_get_expr(p.polwithcheck, p.polrelid), pg_get_expr(p.polqual, p.polrelid), 'true')
  FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
 WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)
"""
_WRITABLE = """
SELECT relname::text FROM pg_class
 WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s) AND relname = ANY (%s)
   AND has_table_privilege('meridian_app', oid, 'INSERT, UPDATE, DELETE')
"""


def check(owner: Connection, where: str, schema: str, tenant: UUID | None) -> Iterator[Finding]:
    """`tenant` is whose schema it is, None where tenants share tables."""
    step = f"Run `manage.py cell secure {where.partition('@')[0]}`."

    def danger(what: str, next_step: str = step) -> Finding:
        return Finding(NAME, Severity.DANGER, what, next_step, where)

    earlier = 0
    for statement in missing(owner, schema, tenant):
        if statement.startswith("ALTER POLICY"):
            earlier += 1
        elif not statement.startswith("DROP ") and " DROP CONSTRAINT " not in statement:
            yield danger(f"Isolation of schema {schema} lacks: {statement}.")
    if earlier:
        said = f"The planner misjudges {earlier} tables of schema {schema}, whose policies are old."
        yield Finding(NAME, Severity.WARNING, said, step, where)
    for table, name, permissive, _, applies, using, checks in owner.execute(_POLICIES, (schema,)):
        if name == POLICY:
            for expression in (using, checks):
                if not guards(expression, tenant):
                    yield danger(
                        f"The policy of {schema}.{table} is not the platform's: {expression}.",
                        f"DROP POLICY {POLICY} ON the table, then: {step}",
                    )
        elif permissive and applies:
            yield danger(
                f"The policy {name} of {schema}.{table} lets in more than the tenant.",
                "Drop it, or make it RESTRICTIVE: permissive policies are joined by OR.",
            )
    for (table,) in owner.execute(_WRITABLE, (schema, sorted(REFERENCE_TABLES))):
        yield danger(f"The application may write {schema}.{table}, which is part of the code.")
    local = settings.MERIDIAN_LOCAL_TABLES
    for table in read_captured(owner, schema, without=local):
        try:
            uncaptured = capture.lacking([table], schema, tenant=str(tenant or ""))
        except capture.NotReplicable as error:
            yield danger(f"In schema {schema}: {error}", "Do what it says.")
        else:
            if uncaptured:
                yield danger(f"Changes of {schema}.{table.name} are not all captured.")
    for counter in read_open_counters(owner, schema):
        yield Finding(
            NAME,
            Severity.WARNING,
            f"The counter {schema}.{counter} can be read and moved by every tenant of the cell.",
            step,
            where,
        )
