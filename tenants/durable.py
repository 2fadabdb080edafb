"""How far a write has to have got before its client hears of it, where the request does not say:
the setting MERIDIAN_DURABILITY, by what was written and by which view.

`{"*": "local", "shop.Payment": "remote", "api/shop/orders": "remote"}`: models by their labels,
views by their names or routes, `*` for all others; docs/how-to/durability.md. A model counts as
written when a statement is about to be sent for it (`save`, `update`, `bulk_create`, `delete`, also
`select_for_update`); neither is raw SQL seen, nor what a cascade deletes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from django.apps import apps
from django.conf import settings
from django.db import models
from django.urls import ResolverMatch, URLPattern, URLResolver, get_resolver

LOCAL, REMOTE = "local", "remote"
OTHERS = "*"

_written: ContextVar[set[str] | None] = ContextVar("written", default=None)


@contextmanager
def noting() -> Iterator[set[str]]:
    """The labels of the models that are written inside the block, also by its threads."""
    labels: set[str] = set()
    token = _written.set(labels)
    try:
        yield labels
    finally:
        _written.reset(token)


def writes(model: type[models.Model]) -> None:
    """It is about to be."""
    labels = _written.get()
    if labels is not None:
        labels.add(model._meta.label)


def demanded(match: ResolverMatch | None, written: set[str]) -> str:
    """The most that the view or a model asks for; where none does, what is so for all others."""
    setting: Mapping[str, str] = settings.MERIDIAN_DURABILITY
    names = written | ({match.view_name, match.route} if match else set())
    asked = {setting[name] for name in names & setting.keys()} or {setting.get(OTHERS, LOCAL)}
    return REMOTE if REMOTE in asked else LOCAL


def problems() -> Iterator[str]:
    """What the setting names and is not there."""
    views = set(_views(get_resolver(settings.MERIDIAN_TENANT_URLCONF)))
    labels = {model._meta.label for model in apps.get_models(include_auto_created=True)}
    for name, asked in settings.MERIDIAN_DURABILITY.items():
        if asked not in {LOCAL, REMOTE}:
            yield f"{name!r} is either {LOCAL} or {REMOTE}, not {asked!r}."
        elif name not in {OTHERS} | labels | views:
            yield f"{name!r} is neither a model nor the name or route of a tenant's view."


def _views(resolver: URLResolver, route: str = "", spaces: tuple[str, ...] = ()) -> Iterator[str]:
    """As a match names them."""
    for pattern in resolver.url_patterns:
        here = route + str(pattern.pattern).removeprefix("^" if route else "")
        if isinstance(pattern, URLPattern):
            yield here
            yield ":".join([*spaces, pattern.name or pattern.lookup_str])
        else:
            inner = (*spaces, pattern.namespace) if pattern.namespace else spaces
            yield from _views(pattern, here, inner)
