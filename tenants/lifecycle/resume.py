"""Opens a suspended tenant's doors again, or those of one whose move broke."""

from __future__ import annotations

from tenants.lifecycle.move_recover import finish_broken_move
from tenants.lifecycle.states import change_state
from tenants.models import Tenant


def resume(slug: str, *, actor: str) -> Tenant:
    """A move that broke is ended first: taken back, or cleaned up after if it was decided."""
    finish_broken_move(slug, actor=actor)
    suspended = Tenant.State.SUSPENDED.value
    return change_state(
        slug, Tenant.State.ACTIVE.value, verb="resume", actor=actor, when=(suspended,)
    )
