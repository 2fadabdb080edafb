"""SQL that differs where tenants share tables."""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import operations
from django.db.models.constants import OnConflict

TENANT_COLUMN = "tenant_id"


class DatabaseOperations(operations.DatabaseOperations):
    connection: Any

    def on_conflict_suffix_sql(
        self, fields: Any, on_conflict: Any, update_fields: Any, unique_fields: Any
    ) -> str:
        """Unique constraints lead with the tenant there, so a conflict's target does too."""
        if on_conflict == OnConflict.UPDATE and self.connection.shares_tables:
            unique_fields = [TENANT_COLUMN, *unique_fields]
        return super().on_conflict_suffix_sql(fields, on_conflict, update_fields, unique_fields)
