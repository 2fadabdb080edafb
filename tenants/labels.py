"""Which apps have tables in the control cell, and which in the tenants' cells."""

from __future__ import annotations

from functools import cache

from django.apps import apps
from django.conf import settings


@cache
def shared_labels() -> frozenset[str]:
    return _labels(settings.SHARED_APPS)


@cache
def tenant_labels() -> frozenset[str]:
    return _labels(settings.TENANT_APPS)


def _labels(names: list[str]) -> frozenset[str]:
    wanted = set(names)
    return frozenset(
        config.label
        for config in apps.get_app_configs()
        if config.name in wanted
        or f"{type(config).__module__}.{type(config).__qualname__}" in wanted
    )
