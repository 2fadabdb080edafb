"""The parts of a migration that change rows: `RunPython`, and SQL that writes.

Guarantees that they run once a tenant, where the cell is written, with that tenant in context:
row-level security admits its rows and no other's, and the fabric carries what changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import Error, connections, transaction

from regions.replication.settle import settle
from tenants.context import tenant_scope
from tenants.databases import pinned_to
from tenants.directory import TenantRecord
from tenants.errors import MigrationFailed
from tenants.isolation import seed
from tenants.isolation.owner import Connection
from tenants.isolation.rewrite import SEED
from tenants.rollout.marks import marks_of, record_statement, tenant_mark
from tenants.rollout.render import run_operations
from tenants.rollout.sharers import everybody
from tenants.rollout.steps import Part
from tenants.rollout.units import Unit

ARRIVAL_SECONDS = 60.0


def change(unit: Unit, part: Part, home: str, alias: str, lock_timeout: float) -> None:
    """In shared tables each tenant has a transaction of its own: the seed first, so that whoever
    comes from then on has the change. Raises MigrationFailed, naming those for whom it failed, when
    it is done for all others."""
    if not unit.shared:
        _change_for(unit.tenant, part, alias, marks_of(part), lock_timeout)
        return
    failed: dict[str, BaseException] = {}
    total = 0
    for group in everybody(unit, home):
        done = _marked(alias)
        total += len(group)
        for tenant in group:
            mark = tenant_mark(part, tenant.id)
            if mark in done:
                continue
            try:
                _change_for(tenant, part, alias, [record_statement(mark)], lock_timeout)
            except Exception as error:  # noqa: BLE001 - an app's code may raise anything
                failed[tenant.slug] = error
    if failed:
        named = ", ".join(list(failed)[:10])
        raise MigrationFailed(
            f"the rows of {len(failed)} of {total} tenants could not be changed "
            f"({named}); the others' are"
        ) from next(iter(failed.values()))
    _run(alias, marks_of(part))


def wait_until_everywhere(
    unit: Unit, sessions: dict[str, Connection], home: str, others: Sequence[str]
) -> None:
    settle(
        sessions,
        cell=unit.spec.name,
        senders=[home],
        receivers=others,
        tenant=unit.tenant_id,
        seconds=ARRIVAL_SECONDS,
        patient=True,
    )


def _change_for(
    tenant: TenantRecord | None, part: Part, alias: str, marks: list[str], lock_timeout: float
) -> None:
    connection = connections[alias]
    with tenant_scope(tenant), pinned_to(alias):
        try:
            if part.atomic:
                with transaction.atomic(using=alias), connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL lock_timeout = '{int(lock_timeout * 1000)}ms'")
                    if tenant is not None and tenant.id == SEED:
                        cursor.execute(seed.KEEP_COPIERS_OUT)
                    run_operations(connection, part)
                    cursor.execute(";\n".join(marks))
            else:
                run_operations(connection, part)
                _run(alias, marks)
        except Error:
            connection.close()
            raise


def _run(alias: str, statements: list[str]) -> None:
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute(";\n".join(statements))


def _marked(alias: str) -> set[tuple[str, str]]:
    with tenant_scope(None), connections[alias].cursor() as cursor:
        cursor.execute("SELECT app, name FROM public.django_migrations")
        return set(cursor.fetchall())
