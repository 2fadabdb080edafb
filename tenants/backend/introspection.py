"""Shows Django the tables as its models describe them, without the platform's columns."""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import introspection

FABRIC_COLUMNS = frozenset({"_born", "_stamp", "_fields", "_base"})
HIDDEN_COLUMNS = FABRIC_COLUMNS | {"tenant_id"}

# A reference across shared tables is (tenant, key): Django's own query looks at the first only.
_RELATIONS = """
SELECT own.attname, target.relname, theirs.attname
  FROM pg_constraint con
  JOIN pg_class c ON c.oid = con.conrelid
  JOIN pg_class target ON target.oid = con.confrelid
  JOIN pg_attribute own
    ON own.attrelid = c.oid AND own.attnum = con.conkey[cardinality(con.conkey)]
  JOIN pg_attribute theirs
    ON theirs.attrelid = target.oid AND theirs.attnum = con.confkey[cardinality(con.confkey)]
 WHERE c.relname = %s AND con.contype = 'f' AND c.relnamespace = target.relnamespace
   AND pg_catalog.pg_table_is_visible(c.oid)
"""


class DatabaseIntrospection(introspection.DatabaseIntrospection):
    connection: Any

    def get_table_description(self, cursor: Any, table_name: str) -> list[Any]:
        columns = super().get_table_description(cursor, table_name)
        return [column for column in columns if column.name not in self._hidden]

    def get_constraints(self, cursor: Any, table_name: str) -> dict[str, Any]:
        """Keys and indexes without the tenant that leads them: what migrations look for."""
        constraints = {
            name: constraint
            for name, constraint in super().get_constraints(cursor, table_name).items()
            if not constraint["columns"] or not self._hidden.issuperset(constraint["columns"])
        }
        if not self.connection.shares_tables:
            return constraints
        relations = self.get_relations(cursor, table_name)
        for constraint in constraints.values():
            columns = constraint["columns"]
            if columns and columns[0] == "tenant_id" and len(columns) > 1:
                # Django writes a lone expression as no columns at all.
                constraint["columns"] = columns[1:] if columns[1:] != [None] else []
                if constraint.get("orders"):
                    constraint["orders"] = constraint["orders"][1:] if columns[1:] != [None] else []
                if constraint["foreign_key"]:
                    column, table = relations[columns[-1]]
                    constraint["foreign_key"] = (table, column)
        return constraints

    def get_relations(self, cursor: Any, table_name: str) -> dict[str, tuple[str, str]]:
        if not self.connection.shares_tables:
            return super().get_relations(cursor, table_name)
        cursor.execute(_RELATIONS, [table_name])
        return {column: (theirs, table) for column, table, theirs in cursor.fetchall()}

    @property
    def _hidden(self) -> frozenset[str]:
        """An app may have a `tenant_id` of its own where tenants don't share tables."""
        return HIDDEN_COLUMNS if self.connection.shares_tables else FABRIC_COLUMNS
