"""Merge rules next to the models that they are about: for cells that every region writes.

    @merge_rules(votes="counter", last_seen="max")
    class Ticket(models.Model): …

The model stays as it is. Models of other people's apps have their rules in `MERIDIAN_MERGE_RULES`:
`{"auth.User": {"last_login": "max"}}`. A many-to-many table that Django makes is a set by itself.
What each rule does is in docs/how-to/merge-rules.md; what a field can't have, a check refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TypeVar

from django.apps import apps
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models

from regions.replication import rules
from regions.replication.resolving import Resolver, find, rule_of
from tenants.labels import tenant_labels

M = TypeVar("M", bound=type[models.Model])

_declared: dict[type[models.Model], dict[str, str]] = {}


def merge_rules(**fields: str | Resolver) -> Callable[[M], M]:
    """Declare how the model's fields are merged; the others are the last writer's."""

    def declare(model: M) -> M:
        _declared[model] = {
            name: rule if isinstance(rule, str) else rule_of(rule) for name, rule in fields.items()
        }
        return model

    return declare


def all_rules() -> Iterator[tuple[type[models.Model], dict[str, str]]]:
    """Every declaration. Raises LookupError for a model in the settings that is not installed."""
    yield from _declared.items()
    configured: Mapping[str, dict[str, str]] = settings.MERIDIAN_MERGE_RULES
    for label, fields in configured.items():
        yield apps.get_model(label), fields


def install() -> None:
    """Tell the fabric; done once the apps are loaded."""
    labels = tenant_labels()
    with suppress(LookupError):  # a check says so
        for model, fields in all_rules():
            columns = {field.name: str(field.column) for field in model._meta.local_concrete_fields}
            fitting = {
                columns[name]: rule
                for name, rule in fields.items()
                if not list(problems(model, name, rule))
            }
            rules.declare(model._meta.db_table, fitting)
    for model in apps.get_models(include_auto_created=True):
        names = _element(model)
        if model._meta.app_label in labels and names:
            rules.declare(model._meta.db_table, {rules.ROWS: f"set:{','.join(names)}"})


def problems(model: type[models.Model], name: str, rule: str) -> Iterator[str]:
    """Why the field can't have the rule, one sentence each."""
    field = next((field for field in model._meta.local_fields if field.name == name), None)
    if field is None:
        yield f"{model._meta.label} has no field {name} in its own table."
        return
    kinds = _KINDS.get(rules.kind(rule))
    if kinds is None:
        yield f"There is no merge rule {rule!r}: choose one of {', '.join(sorted(_KINDS))}."
        return
    if wrong := _wrong_parameter(rule):
        yield wrong
        return
    if rule == "rename" and isinstance(field, kinds) and not field.primary_key:
        return
    if not isinstance(field, kinds) or field.is_relation or field.primary_key or field.unique:
        yield f"The rule {rule} is not for {type(field).__name__}, for keys or unique fields."
    elif (
        rule == "set"
        and isinstance(field, ArrayField)
        and (field.base_field.null or isinstance(field.base_field, ArrayField))
    ):
        yield f"The rule {rule} needs elements that are neither null nor arrays."
    elif field.null and rules.kind(rule) not in _WITH_NULL:
        yield f"The rule {rule} needs a field without null: there is no telling what to add to."


_NUMBERS = (models.IntegerField, models.DecimalField)
_WITH_NULL = ("max", "min", "keep_both", "resolve")
_ORDERED = (*_NUMBERS, models.FloatField, models.DateField, models.TimeField, models.DurationField)
_KINDS: dict[str, tuple[type[models.Field], ...]] = {  # type: ignore[type-arg]
    "counter": _NUMBERS,
    "bounded": _NUMBERS,
    "max": _ORDERED,
    "min": _ORDERED,
    "enable_wins": (models.BooleanField,),
    "disable_wins": (models.BooleanField,),
    "set": (ArrayField,),
    "keep_both": (models.Field,),
    "resolve": (models.Field,),
    "rename": (models.CharField, models.TextField),
}


def _wrong_parameter(rule: str) -> str | None:
    """What is wrong with what stands after the colon."""
    kind = rules.kind(rule)
    if kind == "resolve":
        try:
            find(rule)
        except ValueError as error:
            return f"{str(error).capitalize()}. Write resolve:module:function@version."
        return None
    if ":" in rule and kind != "bounded":
        return f"The rule {kind} has no parameter."
    try:
        rules.bound(rule)
    except ValueError:
        return f"The rule {rule} is not a bound: write bounded, or bounded:-100."
    return None


def _element(model: type[models.Model]) -> tuple[str, ...]:
    """The columns that name an element of a many-to-many relation, if the table is one whose key
    is wide enough for a name to be one."""
    pk = model._meta.pk
    if not model._meta.auto_created or not isinstance(pk, models.BigAutoField):
        return ()
    return tuple(sorted(str(f.column) for f in model._meta.local_concrete_fields if f.is_relation))
