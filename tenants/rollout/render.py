"""Renders a part that changes structure: from Django's operations to SQL for every tenant.

Runs it for one tenant that stands where the others stand, listens, and rolls back. Guarantees
that the SQL brings what isolation and capture need, and notes what it did.
"""

from __future__ import annotations

import re
from typing import Any, cast

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from tenants.context import tenant_scope
from tenants.databases import pinned_to
from tenants.isolation import seed
from tenants.isolation.base import protect
from tenants.isolation.catalog import REFERENCE_TABLES
from tenants.isolation.migrating import announce
from tenants.isolation.owner import Connection
from tenants.isolation.recording import Overheard, Recording, Script
from tenants.rollout.marks import marks_of
from tenants.rollout.steps import Bound, Part
from tenants.rollout.units import Unit

# Of what handlers write, what is the same for every tenant. The rest comes later, once a tenant.
_ABOUT_CODE = re.compile(
    rf'(INSERT INTO|UPDATE|DELETE FROM) "({"|".join(sorted(REFERENCE_TABLES))})"'
)


def render(unit: Unit, part: Part, alias: str, *, last: bool, lock_timeout: float) -> Script:
    """Raises what the operations raise. `last`: the models are those of the code then, so their
    content types are made."""
    connection = connections[alias]
    structure, rows, own = Recording(), Recording(), Recording()
    with tenant_scope(unit.tenant), pinned_to(alias), transaction.atomic(using=alias):
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{int(lock_timeout * 1000)}ms'")
        with structure.of_django(connection):
            run_operations(connection, part)
        if last:
            whose = unit.tenant or seed.record(unit.spec)
            with rows.of_django(connection), tenant_scope(whose):
                announce(alias)
        session = cast(Connection, Overheard(connection.connection, own))
        protect(session, unit.schema, unit.tenant_id)
        transaction.set_rollback(True, using=alias)
    again = [_if_absent(text) for text in rows.statements if _ABOUT_CODE.match(text)]
    text = ";\n".join([*structure.statements, *again, *own.statements, *marks_of(part)])
    return Script(text, unit.schema, unit.tenant_id)


def run_operations(connection: BaseDatabaseWrapper, part: Part) -> None:
    """As Django's executor does; what it defers is done at the end."""
    with connection.schema_editor(atomic=part.atomic) as editor:
        for bound in part.bound:
            _make_models(bound)
            operation: Any = bound.operation
            operation.database_forwards(
                bound.migration.app_label, editor, bound.before, bound.after
            )


def _make_models(bound: Bound) -> None:
    """All models once: of what comes after an operation, only those that it has changed."""
    if bound.after is bound.before or "apps" in vars(bound.after):
        return
    bound.before.apps  # noqa: B018 - a clone of what has made its models has them too
    state = bound.before.clone()
    bound.operation.state_forwards(bound.migration.app_label, state)
    vars(bound.after).setdefault("apps", state.apps)


def _if_absent(statement: str) -> str:
    """Reference rows that somebody has made already are as good."""
    if not statement.startswith("INSERT"):
        return statement
    return f"{statement.rpartition(' RETURNING ')[0] or statement} ON CONFLICT DO NOTHING"
