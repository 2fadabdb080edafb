"""What a part leaves in `django_migrations`, in the transaction that did it."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from psycopg import sql

from tenants.rollout.graph import MARK
from tenants.rollout.steps import Part

_RECORD = "INSERT INTO django_migrations (app, name, applied) VALUES ({app}, {name}, now())"
_FORGET = "DELETE FROM django_migrations WHERE app = {app} AND starts_with(name, {prefix})"


def marks_of(part: Part) -> list[str]:
    """Statements for a session whose search path is the schema."""
    statements = []
    for migration in part.completes:
        app = migration.app_label
        if any(bound.operation is not None for bound in part.bound) or migration.operations:
            statements.append(
                sql.SQL(_FORGET).format(
                    app=sql.Literal(app), prefix=sql.Literal(migration.name + MARK)
                )
            )
        for done in dict.fromkeys([*migration.replaces, (app, migration.name)]):
            statements.append(_record(*done))
    if part.reaches:
        migration, number = part.reaches
        statements.append(_record(migration.app_label, f"{migration.name}{MARK}{number}"))
    return [statement.as_string() for statement in statements]


def tenant_mark(part: Part, tenant: UUID) -> tuple[str, str]:
    """In tables that tenants share: that a part which changes rows is done for one of them."""
    last = part.bound[-1]
    name = f"{last.migration.name}{MARK}{last.number + 1}@{tenant}"
    return last.migration.app_label, name


def record_statement(mark: tuple[str, str]) -> str:
    return _record(*mark).as_string()


def without_tenants(names: Iterable[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """A starting point, without the marks of single tenants."""
    return frozenset((app, name) for app, name in names if "@" not in name)


def _record(app: str, name: str) -> sql.Composed:
    return sql.SQL(_RECORD).format(app=sql.Literal(app), name=sql.Literal(name))
