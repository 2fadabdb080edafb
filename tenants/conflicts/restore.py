"""Brings a lost value back: as a write like any other, which wins because it is the newest.

Guarantees that it happens once, whichever region is asked and however often, that the tenant's
policies, constraints and quotas judge it, and that who did it is recorded, in one transaction with
the write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db import connections, transaction
from django.db.models import Field, Model

from tenants.conflicts.browse import find
from tenants.conflicts.entries import Entry
from tenants.context import current_tenant
from tenants.databases import cell_alias
from tenants.errors import RestoreRefused

WHOLE_ROW = "*"


@dataclass(frozen=True, slots=True)
class Restored:
    """`done` is False when somebody had done it before: then nothing was written."""

    entry: Entry
    done: bool


def restore(id_: UUID, *, by: str) -> Restored:
    """Write the loser of an entry of the tenant in scope again. Raises UnknownConflict,
    RestoreRefused, and what the database says: a constraint, a quota, a lost lease."""
    entry, _ = find(id_)
    if entry.restored_at is not None:
        return Restored(entry, done=False)
    alias = cell_alias(current_tenant().cell)
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute("SELECT tenancy.note_restored(%s, %s)", [entry.id, by])
        if not cursor.fetchone()[0]:
            return Restored(entry, done=False)
        model = _model(entry.table)
        if entry.field == WHOLE_ROW:
            _write_row(alias, model, entry)
        else:
            _write_field(alias, model, entry)
    return Restored(entry, done=True)


def _model(table: str) -> type[Model]:
    name = table.partition(".")[2]
    for model in apps.get_models(include_auto_created=True):
        if model._meta.db_table == name and model._meta.managed:
            return model
    raise RestoreRefused(f"No model of this code has the table {name!r} any more.")


def _write_field(alias: str, model: type[Model], entry: Entry) -> None:
    field = _fields(model).get(entry.field)
    if field is None:
        raise RestoreRefused(f"{model._meta.label} has no column {entry.field!r} any more.")
    if not _update(alias, model, entry.key, {field: entry.loser}):
        raise RestoreRefused(
            f"The {model._meta.verbose_name} is not there any more: restore its whole row first, if"
            " the ledger has one."
        )


def _write_row(alias: str, model: type[Model], entry: Entry) -> None:
    known = _fields(model)
    values = {known[column]: text for column, text in entry.loser.items() if column in known}
    key = {known[column] for column in entry.key if column in known}
    rest = {field: text for field, text in values.items() if field not in key}
    if rest and _update(alias, model, entry.key, rest):
        return
    connection = connections[alias]
    columns = ", ".join(connection.ops.quote_name(_column(field)) for field in values)
    texts = ", ".join(_typed(field, alias) for field in values)
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        # The names are the model's own.
        cursor.execute(
            f"INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE VALUES ({texts})",  # noqa: S608
            list(values.values()),
        )


def _update(
    alias: str,
    model: type[Model],
    key: Mapping[str, str],
    values: Mapping[Field[Any, Any], str | None],
) -> int:
    """How many rows: one, or none if the row is gone."""
    connection = connections[alias]
    known = _fields(model)
    table = connection.ops.quote_name(model._meta.db_table)
    sets = ", ".join(_equals(field, alias) for field in values)
    where = " AND ".join(_equals(known[column], alias) for column in key)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET {sets} WHERE {where}",  # noqa: S608 - the model's own names
            [*values.values(), *key.values()],
        )
        return int(cursor.rowcount)


def _fields(model: type[Model]) -> dict[str, Field[Any, Any]]:
    """Those that can be written, by column."""
    fields: Iterable[Field[Any, Any]] = model._meta.local_concrete_fields
    return {_column(field): field for field in fields if not field.generated}


def _column(field: Field[Any, Any]) -> str:
    return str(field.column)


def _equals(field: Field[Any, Any], alias: str) -> str:
    return f"{connections[alias].ops.quote_name(_column(field))} = {_typed(field, alias)}"


def _typed(field: Field[Any, Any], alias: str) -> str:
    """A text as the column's type: what its output function wrote, its input function reads."""
    return f"CAST(CAST(%s AS text) AS {field.cast_db_type(connections[alias])})"
