"""Model instances know their tenant: from the moment they are made or read, and when pickled.

Guarantees that an instance is not saved, deleted, reread, or related to another under a tenant
that it does not belong to. One that was made outside of every scope belongs to whoever saves it.
"""

from __future__ import annotations

from contextlib import suppress
from functools import wraps
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import base
from django.db.models.base import ModelState

from tenants.binding.rules import in_scope, is_guarded, require
from tenants.context import current_tenant_or_none
from tenants.errors import WrongTenantError


class BoundState(ModelState):
    """`tenant` is None for what was made, or read, outside of every scope."""

    tenant: UUID | None = None

    def __init__(self) -> None:
        # Once an instance: the shortest way to say it.
        tenant = current_tenant_or_none()
        if tenant is not None:
            self.tenant = tenant.id


def check(instance: models.Model) -> None:
    """Raises WrongTenantError or NoTenantError when the instance is another's; one that nobody
    has yet becomes the tenant's in scope."""
    # Not type(): a lazy object, as request.user is, says what it stands for.
    if not is_guarded(instance.__class__):
        return
    state = instance._state
    owner = getattr(state, "tenant", None)
    if owner is None and state.db is None:
        if (tenant := in_scope()) is not None:
            state.tenant = tenant  # type: ignore[attr-defined]
        return
    if owner != in_scope():  # named only then: one that is being made has no key to ask for yet
        require(owner, _name(instance))


def check_relation(first: models.Model, second: models.Model) -> None:
    """Raises WrongTenantError unless both are the same tenant's, and that one's in scope."""
    guarded = [one for one in (first, second) if is_guarded(one.__class__)]
    owners = {tenant for one in guarded if (tenant := getattr(one._state, "tenant", None))}
    if len(owners) > 1:
        raise WrongTenantError(
            f"{_name(first)} and {_name(second)} belong to different tenants and can't be related."
        )
    if current_tenant_or_none() is not None:
        for one in guarded:
            check(one)


def install() -> None:
    base.ModelState = BoundState  # type: ignore[misc]
    for method in ("save_base", "delete", "refresh_from_db"):
        original = getattr(models.Model, method)
        if not hasattr(original, "__wrapped__"):
            setattr(models.Model, method, _checked(original))


def _checked(original: Any) -> Any:
    """With `using=` the router isn't asked, so the methods themselves are guarded."""

    @wraps(original)
    def guarded(self: models.Model, *args: Any, **kwargs: Any) -> Any:
        check(self)
        return original(self, *args, **kwargs)

    return guarded


def _name(instance: models.Model) -> str:
    with suppress(AttributeError):  # a child of another model gets its key after its parent's
        return f"{instance._meta.object_name} {instance.pk}"
    return f"{instance._meta.object_name}"
