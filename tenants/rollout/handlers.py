"""What apps' handlers of `post_migrate` do to rows: once a tenant, when its migrations are done.

Handlers that only make content types and permissions don't count: those are structure.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.contenttypes.management import create_contenttypes
from django.db.migrations.operations.base import Operation
from django.db.models.signals import post_migrate

from tenants.isolation.migrating import announce
from tenants.labels import tenant_labels
from tenants.rollout.steps import Bound, Kind, Part

_STRUCTURE = (create_contenttypes, create_permissions)


class CallHandlers(Operation):
    """The last operation of the last migration, as it were."""

    def state_forwards(self, app_label: str, state: Any) -> None:
        """They change no models."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        announce(schema_editor.connection.alias)


def with_handlers(parts: list[Part]) -> list[Part]:
    """With a part that calls them, if there are any: the last migration is complete when that is,
    so that a run which was stopped in between goes on with it."""
    ending = next((part for part in reversed(parts) if part.completes), None)
    if ending is None or not _present():
        return parts
    last = ending.completes.pop()
    ending.reaches = (last, len(last.operations))
    state = parts[-1].bound[-1].after if parts[-1].bound else None
    bound = Bound(last, len(last.operations), CallHandlers(), state, state)  # type: ignore[arg-type]
    return [*parts, Part(len(parts), Kind.ROWS, [bound], [last])]


def _present() -> bool:
    for config in apps.get_app_configs():
        if config.label in tenant_labels() and config.models_module is not None:
            ours, _ = post_migrate._live_receivers(config)
            if any(handler not in _STRUCTURE for handler in ours):
                return True
    return False
