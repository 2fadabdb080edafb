"""How each operation of a migration has to be run: pure.

Guarantees that whatever is run for every replica changes no row, and that whatever changes rows
runs once a tenant: the fabric carries rows, nothing carries structure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import sqlparse
from django.contrib.postgres import operations as postgres
from django.db.migrations import Migration, operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from tenants.errors import InvalidRequest
from tenants.rollout.renamed import AddContentType, FollowContentType


class Kind(StrEnum):
    STRUCTURE = "structure"  # rendered once, replayed in every replica
    ROWS = "rows"  # for real, once a tenant, where the cell is written; the fabric carries it on
    CUSTOM = "custom"  # for real in every replica: nobody knows what it does
    APART = "apart"  # the same, outside a transaction


_RENDERED = frozenset(
    {
        operations.CreateModel,
        operations.DeleteModel,
        operations.RenameModel,
        operations.AlterModelTable,
        operations.AlterModelTableComment,
        operations.AlterModelOptions,
        operations.AlterModelManagers,
        operations.AlterUniqueTogether,
        operations.AlterIndexTogether,
        operations.AlterOrderWithRespectTo,
        operations.AddField,
        operations.RemoveField,
        operations.AlterField,
        operations.RenameField,
        operations.AddIndex,
        operations.RemoveIndex,
        operations.RenameIndex,
        operations.AddConstraint,
        operations.RemoveConstraint,
        operations.AlterConstraint,
        postgres.AddConstraintNotValid,
        postgres.ValidateConstraint,
        AddContentType,
    }
)
_CHANGES_ROWS = re.compile(r"^(INSERT|UPDATE|DELETE|MERGE|SELECT|WITH|CALL|COPY|TRUNCATE)\b", re.I)
_UNKNOWABLE = re.compile(r"^DO\b", re.I)
HINT = "meridian"


@dataclass(frozen=True, slots=True)
class Bound:
    """One operation in its place, with the models before and after it."""

    migration: Migration
    number: int
    operation: Operation
    before: ProjectState
    after: ProjectState

    @property
    def name(self) -> str:
        return f"{self.migration.app_label}.{self.migration.name}"


@dataclass(slots=True)
class Part:
    """Operations that are run together. `completes` are the migrations that it ends; `reaches`
    says up to which operation it takes one that goes on in the next part."""

    number: int
    kind: Kind
    bound: list[Bound] = field(default_factory=list)
    completes: list[Migration] = field(default_factory=list)
    reaches: tuple[Migration, int] | None = None

    @property
    def atomic(self) -> bool:
        return all(bound.migration.atomic for bound in self.bound)

    @property
    def name(self) -> str:
        """Where a failure in it is looked for."""
        names = list(dict.fromkeys(bound.name for bound in self.bound))
        names = names or [f"{each.app_label}.{each.name}" for each in self.completes]
        names = names or ["isolation, capture and merge rules"]
        return names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"


def kind_of(operation: Operation, migration: Migration) -> Kind:
    """Raises InvalidRequest for what changes structure and rows at once."""
    where = f"{migration.app_label}.{migration.name}"
    if isinstance(operation, operations.SeparateDatabaseAndState):
        kinds = {kind_of(each, migration) for each in operation.database_operations}
        if len(kinds) > 1:
            raise InvalidRequest(
                f"{where}: a SeparateDatabaseAndState does {' and '.join(sorted(kinds))} work at "
                "once: use one for each."
            )
        return kinds.pop() if kinds else Kind.STRUCTURE
    if isinstance(operation, operations.RunPython):
        noop = operation.code == operations.RunPython.noop
        return Kind.STRUCTURE if noop else Kind.ROWS
    if isinstance(operation, operations.RunSQL):
        return _kind_of_sql(operation, migration, where)
    if isinstance(operation, FollowContentType):
        return Kind.ROWS
    if type(operation) in _RENDERED:
        return Kind.STRUCTURE
    return Kind.CUSTOM if migration.atomic else Kind.APART


def _kind_of_sql(operation: operations.RunSQL, migration: Migration, where: str) -> Kind:
    if hint := operation.hints.get(HINT):
        if hint not in (Kind.STRUCTURE.value, Kind.ROWS.value):
            raise InvalidRequest(
                f"{where}: hints[{HINT!r}] is 'structure' or 'rows', not {hint!r}."
            )
        return Kind(hint)
    statements = sql_statements(operation)
    if any(_UNKNOWABLE.match(text) for text in statements):
        raise InvalidRequest(
            f"{where}: nobody can tell what a DO block does: say hints={{{HINT!r}: 'structure'}} "
            "(every replica) or 'rows' (once a tenant) in the RunSQL."
        )
    rows = [bool(_CHANGES_ROWS.match(text)) for text in statements]
    if rows and all(rows):
        return Kind.ROWS
    if any(rows):
        raise InvalidRequest(
            f"{where}: a RunSQL changes structure and rows: use one for each, because structure "
            f"runs in every replica and rows are replicated (or say hints={{{HINT!r}: …}})."
        )
    return Kind.STRUCTURE if migration.atomic or not statements else Kind.APART


def sql_statements(operation: operations.RunSQL) -> list[str]:
    """Each statement without comments."""
    given: Any = operation.sql
    if isinstance(given, str):
        found = sqlparse.split(sqlparse.format(given, strip_comments=True))
    else:
        texts = [each if isinstance(each, str) else each[0] for each in given]
        found = [sqlparse.format(text, strip_comments=True) for text in texts]
    return [text.strip() for text in found if text.strip().strip(";")]


def divide(plan: list[tuple[Migration, int, int]], state: ProjectState) -> list[Part]:
    """`plan`: migrations in order, each with its first operation to run and the one to stop before.
    `state` is what is there before it, and is changed. Structure goes together as far as possible.
    """
    parts: list[Part] = []

    def part_for(kind: Kind, migration: Migration) -> Part:
        if parts and parts[-1].kind is kind:
            last = parts[-1]
            if kind is Kind.STRUCTURE or last.bound[-1].migration is migration:
                return last
        parts.append(Part(len(parts), kind))
        return parts[-1]

    before = state.clone()
    for migration, first, stop in plan:
        part = None
        for number in range(first, stop):
            operation = migration.operations[number]
            operation.state_forwards(migration.app_label, state)
            following = part_for(kind_of(operation, migration), migration)
            if part is not None and following is not part:
                part.reaches = (migration, number)
            part = following
            after = state.clone()
            part.bound.append(Bound(migration, number, operation, before, after))
            before = after
        part = part or part_for(Kind.STRUCTURE, migration)
        if stop < len(migration.operations):
            part.reaches = (migration, stop)
        else:
            part.completes.append(migration)
    return parts
