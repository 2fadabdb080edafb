"""Querysets know their tenant: the one in whose scope they were made.

Guarantees that a queryset is evaluated, and its results are used, in the scope it belongs to; that
clones stay bound; that an iterator does not go on in another scope; and that querysets of two
tenants are not combined. One that was made in no scope (a class attribute of a view or a form) is
free: its clones belong to the scope they are made in, its own results to the first that fetches.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import wraps
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models.expressions import Subquery
from django.db.models.query import QuerySet, RawQuerySet

from tenants.binding.rules import in_scope, is_guarded, require
from tenants.context import current_tenant_or_none

_OWNER = "_tenant"


def check(queryset: Any) -> None:
    """Raises WrongTenantError or NoTenantError when the queryset is another's."""
    owner = getattr(queryset, _OWNER, None)
    if owner is not None and is_guarded(queryset.model):
        require(owner, f"A queryset of {queryset.model._meta.object_name}")


def install() -> None:
    if hasattr(QuerySet, _OWNER):
        return
    # What was pickled, or made, before this was in force belongs to nobody.
    kinds: tuple[Any, ...] = (QuerySet, RawQuerySet)
    for kind in kinds:
        setattr(kind, _OWNER, None)
        for name, wrap in (("__init__", _stamp), ("_clone", _keep), ("_fetch_all", _fetch)):
            setattr(kind, name, wrap(getattr(kind, name)))
        kind.db = property(_database(kind.db.fget))
    patched: Any = QuerySet
    patched._iterator = _iterate(patched._iterator)
    patched.aiterator = _iterate_async(patched.aiterator)
    # As a condition of another query; and what was fetched, by its place.
    for name in ("resolve_expression", "__getitem__"):
        setattr(QuerySet, name, _first_check(getattr(QuerySet, name)))
    for name in ("_combinator_query", "_merge_sanity_check"):
        setattr(QuerySet, name, _combine(getattr(QuerySet, name)))
    Subquery.__init__ = _combine(Subquery.__init__)  # type: ignore[method-assign]


def _stamp(original: Any) -> Any:
    @wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        tenant = current_tenant_or_none()
        if tenant is not None:
            self._tenant = tenant.id

    return __init__


def _keep(original: Any) -> Any:
    @wraps(original)
    def _clone(self: Any) -> Any:
        clone = original(self)
        if self._tenant is not None:
            clone._tenant = self._tenant
        return clone

    return _clone


def _fetch(original: Any) -> Any:
    @wraps(original)
    def _fetch_all(self: Any) -> None:
        if is_guarded(self.model):
            if self._tenant is None and self._result_cache is None:
                self._tenant = in_scope()
            require(self._tenant, f"A queryset of {self.model._meta.object_name}")
        original(self)

    return _fetch_all


def _database(original: Any) -> Any:
    """`db` is asked for at each evaluation, whatever it is: rows, a count, an update."""

    @wraps(original)
    def db(self: Any) -> Any:
        if self._tenant is not None:
            check(self)
        return original(self)

    return db


def _iterate(original: Any) -> Any:
    @wraps(original)
    def _iterator(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        owner = in_scope()
        for row in original(self, *args, **kwargs):
            yield row
            if is_guarded(self.model):
                require(owner, f"An iterator over {self.model._meta.object_name}")

    return _iterator


def _iterate_async(original: Any) -> Any:
    @wraps(original)
    async def aiterator(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        owner = in_scope()
        # To route may be to ask the registry, which nothing may do on an event loop.
        routed = self.using(await sync_to_async(lambda: self.db)())
        async for row in original(routed, *args, **kwargs):
            yield row
            if is_guarded(self.model):
                require(owner, f"An iterator over {self.model._meta.object_name}")

    return aiterator


def _first_check(original: Any) -> Any:
    @wraps(original)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        check(self)
        return original(self, *args, **kwargs)

    return checked


def _combine(original: Any) -> Any:
    @wraps(original)
    def combine(self: Any, *args: Any, **kwargs: Any) -> Any:
        for other in (self, *args):
            if isinstance(other, QuerySet):
                check(other)
        return original(self, *args, **kwargs)

    return combine
