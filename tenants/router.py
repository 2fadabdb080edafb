"""Which database a model is read from and written to.

The tenant in scope decides for tenant apps, the control cell for shared ones. A model that only
tenants have can't be used without one.
"""

from __future__ import annotations

from typing import Any

from django.db import models

from tenants import durable
from tenants.binding import objects
from tenants.connections import real_alias
from tenants.context import current_tenant_or_none
from tenants.databases import CONTROL_ALIAS, cell_alias, is_cell, is_control
from tenants.errors import NoTenantError
from tenants.labels import shared_labels, tenant_labels


class TenantRouter:
    def db_for_read(self, model: type[models.Model], **hints: Any) -> str:
        _check(hints)
        return self._alias(model, hints)

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str:
        _check(hints)
        durable.writes(model)
        return self._alias(model, hints)

    def allow_relation(
        self, first: models.Model, second: models.Model, **hints: Any
    ) -> bool | None:
        """Within one tenant; within one cell, or the control cell whichever region it is reached
        in. Raises WrongTenantError for objects of two tenants."""
        objects.check_relation(first, second)
        cells = {_cell(obj._state.db) for obj in (first, second) if obj._state.db}
        return len(cells) <= 1

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """What is in a database of your own is for a router of your own to say."""
        alias = real_alias(db)
        if is_cell(alias):
            return app_label in tenant_labels()
        return app_label in shared_labels() if is_control(alias) else None

    def _alias(self, model: type[models.Model], hints: dict[str, Any]) -> str:
        label = model._meta.app_label
        if label not in tenant_labels():
            return _control_alias(hints)
        tenant = current_tenant_or_none()
        if tenant is not None:
            return cell_alias(tenant.cell)
        if label in shared_labels():
            return _control_alias(hints)
        raise NoTenantError(
            f"{model._meta.label} belongs to tenants, and no tenant is in context: wrap the code "
            "in `tenant_scope(tenant)` or run it through `manage.py tenant exec`."
        )


def _check(hints: dict[str, Any]) -> None:
    """The object whose related rows are asked for is the tenant's own."""
    instance = hints.get("instance")
    if instance is not None:
        objects.check(instance)


def _control_alias(hints: dict[str, Any]) -> str:
    """Where the object was read whose related rows are asked for, or that is saved: the nearest
    copy may be behind the one where the control cell is written, or gone with its region."""
    instance = hints.get("instance")
    alias: str | None = instance._state.db if instance is not None else None
    return alias if alias and is_control(alias) else CONTROL_ALIAS


def _cell(alias: str) -> str:
    """`cell:acme@eu-west` → `cell:acme`; every control alias → `control`."""
    return real_alias(alias).partition("@")[0]
