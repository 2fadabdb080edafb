"""Opens a suspended tenant's doors again."""

from __future__ import annotations

from tenants.lifecycle.states import change_state
from tenants.models import Tenant


def resume(slug: str, *, actor: str) -> Tenant:
    suspended = Tenant.State.SUSPENDED.value
    return change_state(
        slug, Tenant.State.ACTIVE.value, verb="resume", actor=actor, when=(suspended,)
    )
