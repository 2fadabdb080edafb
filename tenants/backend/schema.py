"""Schema changes in cells. Where tenants share tables, a foreign key is only declared once both
tables have been put under isolation: until then its target has no unique key of its own."""

from __future__ import annotations

from django.db.backends.postgresql import schema


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    """The composite form is the work of `tenants.isolation.shared`, after the migration."""
