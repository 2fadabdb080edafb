"""What an app may not do, found before a cell is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, register

from tenants import durable, merging
from tenants.backend.introspection import HIDDEN_COLUMNS
from tenants.labels import tenant_labels


@register
def columns_are_free(
    app_configs: Sequence[AppConfig] | None = None, **options: Any
) -> list[CheckMessage]:
    """A tenant table has columns of the platform's: no model may use their names."""
    configs = apps.get_app_configs() if app_configs is None else app_configs
    return [
        Error(
            f"The column {field.column!r} is the platform's own.",
            hint=f'Give the field another column: db_column="{field.column}_".',
            obj=field,
            id="tenants.E001",
        )
        for config in configs
        if config.label in tenant_labels()
        for model in config.get_models(include_auto_created=True)
        for field in model._meta.local_fields
        if field.column in HIDDEN_COLUMNS
    ]


@register
def rules_fit(app_configs: Sequence[AppConfig] | None = None, **options: Any) -> list[CheckMessage]:
    """A merge rule is on a field that can have it, of a model that is there."""
    try:
        declared = list(merging.all_rules())
    except LookupError as error:
        return [
            Error(
                f"MERIDIAN_MERGE_RULES names a model that is not installed: {error}",
                hint="Write it app_label.Model, or take it out.",
                id="tenants.E002",
            )
        ]
    return [
        Error(problem, hint="See docs/how-to/merge-rules.md.", obj=model, id="tenants.E003")
        for model, fields in declared
        for name, rule in fields.items()
        for problem in merging.problems(model, name, rule)
    ]


@register
def durability_fits(
    app_configs: Sequence[AppConfig] | None = None, **options: Any
) -> list[CheckMessage]:
    """What is named is there: a payment must not be acknowledged sooner for want of a letter."""
    return [
        Error(
            f"MERIDIAN_DURABILITY: {problem}",
            hint="See docs/how-to/durability.md.",
            id="tenants.E004",
        )
        for problem in durable.problems()
    ]
