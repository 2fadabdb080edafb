"""Changes of structure in cells: the statements of later migrations, on tables that have rows.

Guarantees that in tables that tenants share, a new key or index leads with the tenant and a new
reference carries it from its first moment: what is unique for each tenant is never checked over
all of them. A fresh schema, which nobody shares yet, gets Django's own statements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.postgres.constraints import ExclusionConstraint
from django.db.backends.postgresql import schema

from tenants.isolation.rewrite import ADD_TENANT, LEADABLE, TENANT_COLUMN

# The owner sees no row without a tenant, and every replica runs this by itself: for this one
# statement the owner looks past the policy, and nothing is captured.
_FOR_ALL_ROWS = (
    "ALTER TABLE %(table)s NO FORCE ROW LEVEL SECURITY, DISABLE TRIGGER USER; "
    "{update}; "
    "ALTER TABLE %(table)s FORCE ROW LEVEL SECURITY, ENABLE TRIGGER USER"
)

_SHARED = """
SELECT EXISTS (SELECT FROM pg_attribute
                WHERE attrelid = to_regclass(%s) AND attname = %s AND NOT attisdropped)
   AND NOT EXISTS (SELECT FROM pg_constraint k
                    WHERE k.conrelid = to_regclass(%s) AND k.contype = 'p'
                      AND NOT (SELECT attnum FROM pg_attribute
                                WHERE attrelid = k.conrelid AND attname = %s) = ANY (k.conkey))
"""


class Led:
    """Columns of a statement, with the tenant in front of them if that is so when it runs."""

    def __init__(self, rest: Any, applies: Callable[[], bool], lead: str) -> None:
        self.rest, self.applies, self.lead = rest, applies, lead

    def __getattr__(self, name: str) -> Any:
        # What Django asks of references (renamed? of this table?) is asked of the columns.
        return getattr(self.__dict__["rest"], name)

    def __str__(self) -> str:
        return f"{self.lead}, {self.rest}" if self.applies() else str(self.rest)


# What is changed here is Django's private side, which its types leave out.
_Django: Any = schema.DatabaseSchemaEditor


class DatabaseSchemaEditor(_Django):  # type: ignore[misc]
    connection: Any
    deferred_sql: list[Any]
    _unique_inline = True

    def __init__(self, connection: Any, *args: Any, **options: Any) -> None:
        super().__init__(connection, *args, **options)
        if connection.cell_context is not None:
            update = _Django.sql_update_with_default
            self.sql_update_with_default = _FOR_ALL_ROWS.format(update=update)

    def skip_default_on_alter(self, field: Any) -> bool:
        """A new column of a cell keeps its default: code that doesn't know the column goes on
        inserting, and a replica gives it to rows from one that is not there yet."""
        return self.connection.cell_context is not None

    def create_model(self, model: Any) -> None:
        super().create_model(model)
        if any(self._refers_to_shared(field) for field in model._meta.local_fields):
            self._add_tenant(model)

    def add_field(self, model: Any, field: Any) -> None:
        unique_later = (
            field.unique
            and not field.primary_key
            and field.column is not None
            and self._is_shared(model._meta.db_table)
        )
        self._unique_inline = not unique_later
        if self._refers_to_shared(field):
            self._add_tenant(model)
            self.sql_create_column_inline_fk = None
        try:
            super().add_field(model, field)
        finally:
            self._unique_inline = True
            self.__dict__.pop("sql_create_column_inline_fk", None)
        if unique_later:
            self.execute(self._create_unique_sql(model, [field]))

    def alter_field(self, model: Any, old_field: Any, new_field: Any, strict: bool = False) -> None:
        if self._refers_to_shared(new_field):
            self._add_tenant(model)
        super().alter_field(model, old_field, new_field, strict)

    def add_constraint(self, model: Any, constraint: Any) -> None:
        if not isinstance(constraint, ExclusionConstraint) or not self._is_shared(
            model._meta.db_table
        ):
            super().add_constraint(model, constraint)
            return
        statement: Any = constraint.create_sql(model, self)
        inner = statement.parts["constraint"]
        method = inner.parts["index_type"].lower()
        inner.parts["index_type"] = LEADABLE.get(method, method)
        lead = f"{self.quote_name(TENANT_COLUMN)} WITH ="
        inner.parts["expressions"] = Led(inner.parts["expressions"], lambda: True, lead)
        self.execute(statement, params=None)

    def _iter_column_sql(self, *args: Any, **options: Any) -> Any:
        for part in super()._iter_column_sql(*args, **options):
            if part != "UNIQUE" or self._unique_inline:
                yield part

    def _create_unique_sql(self, model: Any, *args: Any, **options: Any) -> Any:
        return self._lead(model, super()._create_unique_sql(model, *args, **options))

    def _create_primary_key_sql(self, model: Any, field: Any) -> Any:
        return self._lead(model, super()._create_primary_key_sql(model, field))

    def _create_index_sql(self, model: Any, *, using: str = "", **options: Any) -> Any:
        statement = super()._create_index_sql(model, using=using, **options)
        btree = using.split()[-1:] in ([], ["btree"])
        return self._lead(model, statement) if btree else statement

    def _create_fk_sql(self, model: Any, field: Any, suffix: str) -> Any:
        statement = super()._create_fk_sql(model, field, suffix)
        target = field.target_field.model
        return self._lead(target, statement, "column", "to_column")

    def _alter_column_type_sql(self, model: Any, old_field: Any, *args: Any) -> Any:
        if self.connection.cell_context is not None and old_field.primary_key:
            # It watches the key's columns; the fabric makes it again after the migration.
            table = self.quote_name(model._meta.db_table)
            self.execute(f"DROP TRIGGER IF EXISTS fabric_keep_key ON {table}")
        return super()._alter_column_type_sql(model, old_field, *args)

    def _lead(self, model: Any, statement: Any, *parts: str) -> Any:
        """`parts` of the statement lead with the tenant if the model's table is shared by then."""
        if statement is not None and self.connection.shares_tables:
            for part in parts or ("columns",):
                statement.parts[part] = Led(
                    statement.parts[part],
                    lambda: self._is_shared(model._meta.db_table),
                    self.quote_name(TENANT_COLUMN),
                )
        return statement

    def _refers_to_shared(self, field: Any) -> bool:
        to = field.remote_field and field.remote_field.model
        constrained = getattr(field, "db_constraint", False) and field.column is not None
        return bool(to and constrained and self._is_shared(to._meta.db_table))

    def _is_shared(self, table: str) -> bool:
        """Whether its rows are many tenants' already: then its primary key names the tenant."""
        if not self.connection.shares_tables:
            return False
        name = self.quote_name(table)
        with self.connection.cursor() as cursor:
            cursor.execute(_SHARED, [name, TENANT_COLUMN, name, TENANT_COLUMN])
            return bool(cursor.fetchone()[0])

    def _add_tenant(self, model: Any) -> None:
        """A reference to a shared table needs the tenant beside it."""
        self.execute(ADD_TENANT.format(table=self.quote_name(model._meta.db_table)))
