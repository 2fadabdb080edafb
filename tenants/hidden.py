"""One row's hidden columns, for what merge rules let an application know and ask.

Every statement is about the row's own table, in the database that the row is from, and is the
application's own: the tenant's policies judge it like any other.
"""

from __future__ import annotations

import json
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models

from regions.replication import rules


class HiddenRow:
    """Raises ValueError if the field has none of the rules."""

    def __init__(self, row: models.Model, name: str, *kinds: str) -> None:
        model = type(row)
        self.field: Any = model._meta.get_field(name)
        self.column = str(getattr(self.field, "column", ""))
        self.rule = rules.declared(model._meta.db_table, [self.column]).get(self.column, "")
        if rules.kind(self.rule) not in kinds:
            raise ValueError(f"{model._meta.label}.{name} does not have the rule `{kinds[0]}`.")
        self.row = row
        self.connection = connections[row._state.db or DEFAULT_DB_ALIAS]

    def tell(self, what: dict[str, Any]) -> None:
        """Tell the rule's triggers something: they read it in `_base`, where the stamps undo it."""
        self.execute("UPDATE {table} SET _base = %s WHERE {which}", [json.dumps(what)])

    def execute(self, statement: str, params: list[Any]) -> list[tuple[Any, ...]]:
        """The rows of a statement about `{table}` and `{column}`, `{which}` being its last
        condition. `{type}` is the column's."""
        meta = self.row._meta
        quote = self.connection.ops.quote_name
        # The names are the model's own.
        text = statement.format(
            table=quote(meta.db_table),
            column=quote(self.column),
            type=self.field.cast_db_type(self.connection),
            which=" AND ".join(f"{quote(str(key.column))} = %s" for key in meta.pk_fields),
        )
        keys = [
            key.get_db_prep_value(getattr(self.row, key.attname), self.connection)
            for key in meta.pk_fields
        ]
        with self.connection.cursor() as cursor:
            cursor.execute(text, [*params, *keys])
            return list(cursor.fetchall()) if cursor.description else []
