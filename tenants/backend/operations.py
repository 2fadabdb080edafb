"""SQL that differs in cells: where tenants share tables, and where nobody owns what they use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.backends.postgresql import operations
from django.db.models import AutoField, Model
from django.db.models.constants import OnConflict

TENANT_COLUMN = "tenant_id"

# A tenant may draw numbers but not set the counter, which others draw from too: draw until it is
# past the highest number in use.
_DRAW_PAST = (
    "SELECT count(nextval(s.seqrelid::regclass)) FROM pg_catalog.pg_sequence s,"
    " (SELECT max({column}) AS top FROM {table}) used,"
    " generate_series(1, ceil(greatest(used.top - coalesce(pg_sequence_last_value(s.seqrelid), 0),"
    " 0)::numeric / s.seqincrement)::bigint)"
    " WHERE s.seqrelid = pg_get_serial_sequence('{name}', '{plain}')::regclass"
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
