"""The database wrapper: PostgreSQL as Django knows it, aware of cells.

Guarantees that a connection to a cell runs each statement for the tenant in scope. The control
database and an operator's work without a tenant go out as they are.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import base
from psycopg import NotSupportedError

from regions.current import deployment
from regions.topology import TenancyMode
from tenants.backend.context import CellContext
from tenants.backend.cursor import TenantCursor
from tenants.backend.features import DatabaseFeatures
from tenants.backend.introspection import DatabaseIntrospection
from tenants.backend.operations import DatabaseOperations
from tenants.backend.schema import DatabaseSchemaEditor
from tenants.context import current_tenant_or_none
from tenants.directory import TenantRecord


class DatabaseWrapper(base.DatabaseWrapper):
    """`settings_dict["MERIDIAN"]` names the cell: {"cell", "mode", "region", "role"}."""

    features_class = DatabaseFeatures
    introspection_class = DatabaseIntrospection
    ops_class = DatabaseOperations
    SchemaEditorClass = DatabaseSchemaEditor

    def __init__(self, settings_dict: dict[str, Any], alias: str = "default") -> None:
        super().__init__(settings_dict, alias)
        place = settings_dict.get("MERIDIAN")
        self.cell_context: CellContext | None = None
        if place:
            key = deployment().context_key(place["cell"])
            self.cell_context = CellContext(place["cell"], place["role"], key)

    @property
    def shares_tables(self) -> bool:
        """Whether its tables hold the rows of many tenants."""
        place = self.settings_dict.get("MERIDIAN")
        return place is not None and place["mode"] == TenancyMode.SHARED

    @property
    def tenant(self) -> TenantRecord | None:
        """The tenant in scope (django-tenants' vocabulary)."""
        return current_tenant_or_none()

    @property
    def schema_name(self) -> str:
        """The schema that the next statement works in."""
        tenant = self.tenant
        return tenant.schema if tenant and self.cell_context else "public"

    def get_connection_params(self) -> dict[str, Any]:
        return {**super().get_connection_params(), "cursor_factory": TenantCursor}

    def create_cursor(self, name: str | None = None) -> Any:
        if self.cell_context is None:
            return super().create_cursor(name)
        if name:
            raise NotSupportedError(
                "Server-side cursors outlive a tenant's context: set DISABLE_SERVER_SIDE_CURSORS."
            )
        cursor = super().create_cursor()
        cursor.context = self.cell_context
        return cursor
