"""Fields whose concurrent values an application's own function makes into one.

What the field has is the function of all values that nobody knowingly replaced, which are the same
set in every region whatever arrives when (a multi-value register, `sql/sets.sql`); so the function
need be neither commutative nor associative. It is called when a merge leaves a row with several of
them, in the transaction of the merge. A function that can't be had here in the version that was
declared, that raises, or that takes longer than a second makes the row a dead letter: it is tried
again, and the rest goes on.

    @resolver(version=1)
    def join_documents(values: Sequence[str | None]) -> str | None: …

It gets the values as PostgreSQL writes them, the oldest first, and returns one. It runs in the
region's agent, which has none of Django's apps: its module imports no models. The same values must
give the same result everywhere, so it reads no clock and draws no lots; a change is a new version.
"""

from __future__ import annotations

import importlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import sql

from regions.replication import rules
from regions.replication.statements import Statements

if TYPE_CHECKING:
    from regions.replication.session import Session

Resolver = Callable[[Sequence[str | None]], str | None]
F = TypeVar("F", bound=Resolver)

MOST_SECONDS = 1.0
VERSION = "_fabric_version"

_OPEN = sql.SQL("""
SELECT t.tableoid::text, t.ctid::text,
       ARRAY(SELECT k.value FROM fabric.kept_values(t._fields -> {name}) AS k ORDER BY k.stamp)
  FROM {table} t JOIN {stage} s ON {matches}
 WHERE (SELECT count(*) FROM fabric.kept_values(t._fields -> {name})) > 1
""")
_SETTLE = sql.SQL(
    "UPDATE {table} SET {column} = $1::text::{type}"
    " WHERE tableoid = $2::text::oid AND ctid = $3::text::tid"
)


def resolver(*, version: int) -> Callable[[F], F]:
    """Make a function of a module one that a field can be declared with."""

    def mark(function: F) -> F:
        setattr(function, VERSION, version)
        return function

    return mark


def rule_of(function: Resolver) -> str:
    """The rule that a field with this resolver has. Raises ValueError if it is none."""
    version = getattr(function, VERSION, None)
    if version is None:
        raise ValueError(f"{function!r} is not marked with @resolver(version=…)")
    return f"resolve:{function.__module__}:{function.__qualname__}@{version}"


@cache
def find(rule: str) -> Resolver:
    """The function that `resolve:module:name@version` names. Raises ValueError."""
    place, _, version = rule.partition(":")[2].rpartition("@")
    module, _, name = place.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # a module may raise anything while it is imported
        raise ValueError(f"the resolver {place} can't be imported: {error!r}") from error
    if str(getattr(function, VERSION, None)) != version:
        raise ValueError(f"the resolver {place} is not there in version {version}")
    found: Resolver = function
    return found


async def resolve(session: Session, statements: Statements) -> None:
    """Give the merged rows of the stage the values that their resolvers make. Raises
    RaiseException, which names no value."""
    relation = statements.shape.relation
    for column, rule in relation.rules:
        if rules.kind(rule) != "resolve" or column not in relation.plain:
            continue
        name = sql.Identifier(column)
        opened = await session.fetch(
            _OPEN.format(
                name=sql.Literal(column),
                table=relation.table,
                stage=statements.shape.stage,
                matches=statements.matches,
            )
        )
        settle = _SETTLE.format(
            table=relation.table, column=name, type=sql.SQL(relation.plain[column].type)
        )
        for partition, ctid, values in opened:
            await session.execute(settle, (call(rule, values), partition, ctid))


def call(rule: str, values: Sequence[str | None]) -> str | None:
    """What the resolver makes of the values. Raises RaiseException."""
    try:
        function = find(rule)
    except ValueError as error:
        raise psycopg.errors.RaiseException(str(error)) from error
    try:
        with _at_most(MOST_SECONDS):
            result = function(tuple(values))
    except Exception as error:  # somebody else's code: whatever it raises parks the row
        raise _failed(rule, f"raised {type(error).__name__}") from error
    if result is not None and not isinstance(result, str):
        raise _failed(rule, f"returned {type(result).__name__}, not a text")
    return result


def _failed(rule: str, what: str) -> psycopg.Error:
    return psycopg.errors.RaiseException(f"the resolver {rule.partition(':')[2]} {what}")


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in the block; only where signals are heard, as in the agent."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
