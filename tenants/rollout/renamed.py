"""Content types of renamed models, as operations of their own.

Django renames the row. Here its id follows from its name, in every replica and every tenant, so
there is a new row: guarantees that each replica has it, and that generic references, which are
tenants' rows, follow once a tenant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.migrations import operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

CONTENT_TYPES = ("contenttypes", "contenttype")


class AddContentType(Operation):
    """Structure, as far as replicas are concerned: nothing replicates it."""

    def __init__(self, renamed: operations.RenameModel) -> None:
        self.renamed = renamed

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Changes no state."""

    def database_forwards(self, app_label: str, editor: Any, before: Any, after: Any) -> None:
        if CONTENT_TYPES in after.models:
            editor.execute(
                "INSERT INTO django_content_type (app_label, model) VALUES (%s, %s)"
                " ON CONFLICT DO NOTHING",
                (app_label, self.renamed.new_name_lower),
            )

    def describe(self) -> str:
        return f"Add the content type of {self.renamed.new_name}"


class FollowContentType(Operation):
    """Changes rows. Permissions stay with the name that they were made for, as in Django."""

    def __init__(self, renamed: operations.RenameModel) -> None:
        self.renamed = renamed

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Changes no state."""

    def database_forwards(self, app_label: str, editor: Any, before: Any, after: Any) -> None:
        if CONTENT_TYPES not in after.models:
            return
        alias = editor.connection.alias
        types = after.apps.get_model(*CONTENT_TYPES)._base_manager.using(alias)
        named = dict(types.filter(app_label=app_label).values_list("model", "pk"))
        old = named.get(self.renamed.old_name_lower)
        if old is None:
            return
        for model in after.apps.get_models(include_auto_created=True):
            for column in _references(model):
                rows = model._base_manager.using(alias).filter(**{column: old})
                rows.update(**{column: named[self.renamed.new_name_lower]})

    def describe(self) -> str:
        return f"Follow {self.renamed.old_name} to {self.renamed.new_name}"


def with_content_types(given: Iterable[Operation]) -> Iterator[Operation]:
    """The operations of one migration."""
    for operation in given:
        yield operation
        if isinstance(operation, operations.RenameModel):
            yield AddContentType(operation)
            yield FollowContentType(operation)


def _references(model: Any) -> Iterator[str]:
    """Its columns that hold a content type's id."""
    if not model._meta.managed or model._meta.proxy or model._meta.label == "auth.Permission":
        return
    for field in model._meta.local_concrete_fields:
        if field.is_relation and field.related_model._meta.label_lower == ".".join(CONTENT_TYPES):
            yield field.attname
