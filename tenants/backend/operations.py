"""SQL that differs in cells: where tenants share tables, and where nobody owns what they use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.backends.postgresql import operations
from django.db.models import AutoField, Model
from django.db.models.constants import OnConflict

TENANT_COLUMN = "tenant_id"

_DRAW_PAST = (
    "SELECT tenancy.draw_past(pg_get_serial_sequence('{name}', '{plain}'),"
    " (SELECT max({column}) FROM {table}))"
)


class DatabaseOperations(operations.DatabaseOperations):
    connection: Any

    def on_conflict_suffix_sql(
        self, fields: Any, on_conflict: Any, update_fields: Any, unique_fields: Any
    ) -> str:
        """Unique constraints lead with the tenant there, so a conflict's target does too."""
        if on_conflict == OnConflict.UPDATE and self.connection.shares_tables:
            unique_fields = [TENANT_COLUMN, *unique_fields]
        return super().on_conflict_suffix_sql(fields, on_conflict, update_fields, unique_fields)

    def set_time_zone_sql(self) -> str:
        """The application may not call set_config(), which Django's own statement does."""
        return "SET TIME ZONE %s"

    def sequence_reset_sql(self, style: Any, model_list: Iterable[type[Model]]) -> list[str]:
        """What `loaddata` runs when it has written rows with keys of their own."""
        if self.connection.cell_context is None:
            return super().sequence_reset_sql(style, model_list)  # type: ignore[arg-type]
        statements = []
        for model in model_list:
            table = self.quote_name(model._meta.db_table)
            for field in model._meta.local_fields:
                if isinstance(field, AutoField) and field.column:
                    text = _DRAW_PAST.format(
                        column=self.quote_name(field.column),
                        table=table,
                        name=table.replace("'", "''"),
                        plain=field.column.replace("'", "''"),
                    )
                    statements.append(text)
        return statements
