"""What in a plan the code that is running now could not bear: pure.

Guarantees that whatever drops, renames or narrows is named before it runs, and that what every
replica would compute for itself is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.db.migrations import operations
from django.db.migrations.operations.fields import FieldOperation
from django.db.migrations.operations.models import IndexOperation, ModelOperation
from django.db.models import Field, Value
from django.db.models.fields import NOT_PROVIDED

from tenants.rollout.steps import Bound, Part, sql_statements


class Level(StrEnum):
    NOTE = "note"
    CONTRACT = "contract"  # needs --contract
    REFUSE = "refuse"


_ABOUT_MODELS = (FieldOperation, ModelOperation, IndexOperation)


@dataclass(frozen=True, slots=True)
class Concern:
    level: Level
    part: int
    migration: str
    text: str


_GOES = re.compile(
    r"\b(DROP|RENAME|TRUNCATE|SET\s+NOT\s+NULL|ALTER\s+COLUMN\s+\S+\s+(SET\s+DATA\s+)?TYPE)\b", re.I
)
_OWN_VALUES = (
    "every region would compute a value of its own for the rows that are there. Add it with "
    "null=True, fill it with RunPython, and give it the default then."
)
# Of a column that is added: what gives rows that are there a value which is not the text's own.
_COMPUTED = re.compile(
    r"^\s*ALTER\s+TABLE\b[\s\S]*?\bADD\b[^,;]*?(\b(BIG|SMALL)?SERIAL\d?\b|\bAS\s+IDENTITY\b"
    r"|\bDEFAULT\b((?!\b(CHECK|REFERENCES|CONSTRAINT|UNIQUE|PRIMARY|GENERATED)\b)[^,;])*?"
    r"(\w\(|\bCURRENT_|\bLOCALTIME))",
    re.I,
)
_NO_CALL = re.compile(r"'(?:[^']|'')*'|\(\s*\d[\d\s,]*\)")  # literals, and what a type is given


def concerns_of(parts: Sequence[Part], *, regions: int) -> list[Concern]:
    """In the plan's order. `regions`: the most that a cell of the plan has. What is done to a
    table that the same plan brings concerns nobody."""
    every = [bound for part in parts for bound in part.bound]
    before = every[0].before.models.keys() if every else set()
    return [
        Concern(level, part.number, bound.name, text)
        for part in parts
        for bound in part.bound
        if _model(bound) is None or _model(bound) in before
        for level, text in _look(bound, bound.operation, regions)
    ]


def _model(bound: Bound) -> tuple[str, str] | None:
    """The model that the operation is about, if it is about one."""
    operation: Any = bound.operation
    for attribute in ("model_name", "old_name", "name"):
        name = getattr(operation, attribute, None)
        if isinstance(name, str) and isinstance(operation, _ABOUT_MODELS):
            return bound.migration.app_label, name.lower()
    return None


def _look(bound: Bound, operation: Any, regions: int) -> Iterator[tuple[Level, str]]:
    if isinstance(operation, operations.SeparateDatabaseAndState):
        for each in operation.database_operations:
            yield from _look(bound, each, regions)
    elif isinstance(operation, operations.DeleteModel):
        yield Level.CONTRACT, f"drops the table of {operation.name}"
    elif isinstance(operation, operations.RemoveField):
        yield Level.CONTRACT, f"drops {operation.model_name}.{operation.name}"
    elif isinstance(operation, operations.RenameField):
        said = f"renames {operation.model_name}.{operation.old_name} to {operation.new_name}"
        yield Level.CONTRACT, said
    elif isinstance(operation, operations.RenameModel):
        yield Level.CONTRACT, f"renames {operation.old_name} to {operation.new_name}"
    elif isinstance(operation, operations.AlterModelTable):
        yield Level.CONTRACT, f"renames the table of {operation.name}"
    elif isinstance(operation, operations.AlterField):
        yield from _look_at_field(bound, operation)
    elif isinstance(operation, operations.AddField):
        yield from _look_at_new_field(operation, regions)
    elif isinstance(operation, operations.AddConstraint):
        said = (
            f"{operation.model_name}: {operation.constraint.name} refuses rows that old code writes"
        )
        yield Level.CONTRACT, said
    elif isinstance(operation, operations.AlterUniqueTogether) and operation.option_value:
        yield Level.CONTRACT, f"{operation.name}: unique_together refuses rows that old code writes"
    elif type(operation) is operations.AddIndex:
        said = (
            f"{operation.model_name}: {operation.index.name} keeps writers waiting while it is made"
        )
        yield Level.NOTE, f"{said}; AddIndexConcurrently doesn't"
    elif isinstance(operation, operations.RunSQL):
        for statement in sql_statements(operation):
            if regions > 1 and _COMPUTED.search(_NO_CALL.sub("", statement)):
                yield Level.REFUSE, f"SQL by which {_OWN_VALUES}"
            if found := _GOES.search(statement):
                yield Level.CONTRACT, f"SQL with {' '.join(found.group(0).upper().split()[:3])}"


def _look_at_field(bound: Bound, operation: operations.AlterField) -> Iterator[tuple[Level, str]]:
    key = (bound.migration.app_label, operation.model_name_lower)
    old: Any = bound.before.models[key].fields[operation.name]
    new: Any = operation.field
    name = f"{operation.model_name}.{operation.name}"
    if old.null and not new.null:
        yield Level.CONTRACT, f"{name} refuses NULL from then on"
    if new.unique and not old.unique:
        yield Level.CONTRACT, f"{name} becomes unique"
    if (old.db_column or operation.name) != (new.db_column or operation.name):
        yield Level.CONTRACT, f"renames the column of {name}"
    if type(old) is not type(new) and not _same_column_type(old, new):
        yield Level.CONTRACT, f"{name} becomes a {type(new).__name__}"
    elif _shorter(old, new):
        yield Level.CONTRACT, f"{name} becomes shorter"


def _look_at_new_field(operation: operations.AddField, regions: int) -> Iterator[tuple[Level, str]]:
    field: Any = operation.field
    given = getattr(field, "db_default", NOT_PROVIDED)
    constant = not hasattr(given, "resolve_expression") or isinstance(given, Value)
    if given is not NOT_PROVIDED and not constant and regions > 1:
        yield (
            Level.REFUSE,
            f"{operation.model_name}.{operation.name}: {_OWN_VALUES}",
        )


def _same_column_type(old: Field[Any, Any], new: Field[Any, Any]) -> bool:
    return old.get_internal_type() == new.get_internal_type()


def _shorter(old: Any, new: Any) -> bool:
    for name in ("max_length", "max_digits", "decimal_places"):
        before, after = getattr(old, name, None), getattr(new, name, None)
        if after is not None and (before is None or after < before):
            return True
    return False
