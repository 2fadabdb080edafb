"""Shows Django the tables as its models describe them, without the platform's columns."""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import introspection

HIDDEN_COLUMNS = frozenset({"tenant_id", "_born", "_stamp", "_fields", "_base"})


class DatabaseIntrospection(introspection.DatabaseIntrospection):
    connection: Any

    def get_table_description(self, cursor: Any, table_name: str) -> list[Any]:
        columns = super().get_table_description(cursor, table_name)
        if self._is_ours(column.name for column in columns):
            columns = [column for column in columns if column.name not in HIDDEN_COLUMNS]
        return columns

    def get_constraints(self, cursor: Any, table_name: str) -> dict[str, Any]:
        """Keys and indexes without the tenant that leads them: what migrations look for."""
        constraints = super().get_constraints(cursor, table_name)
        if not self.connection.shares_tables:
            return constraints
        for constraint in constraints.values():
            columns = constraint["columns"]
            if columns and columns[0] == "tenant_id" and len(columns) > 1:
                constraint["columns"] = columns[1:]
                if constraint.get("orders"):
                    constraint["orders"] = constraint["orders"][1:]
        return constraints

    def get_relations(self, cursor: Any, table_name: str) -> dict[str, tuple[str, str]]:
        relations = super().get_relations(cursor, table_name)
        return {column: to for column, to in relations.items() if column not in HIDDEN_COLUMNS}

    def get_primary_key_columns(self, cursor: Any, table_name: str) -> list[str] | None:
        columns = super().get_primary_key_columns(cursor, table_name)
        if columns and self.connection.shares_tables:
            columns = [column for column in columns if column not in HIDDEN_COLUMNS]
        return columns

    def _is_ours(self, names: Any) -> bool:
        """Only cells and the control database have these columns; an app may use the names."""
        found = set(names)
        return "_stamp" in found or (self.connection.shares_tables and "tenant_id" in found)
