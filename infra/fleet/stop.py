"""`fleet down`: ends everything, in an orderly way where it can, and everything in any case."""

from __future__ import annotations

import shutil
import xmlrpc.client
from collections.abc import Mapping
from contextlib import suppress

from infra.errors import FleetError, ServerFailed
from infra.fleet import leftovers
from infra.fleet.control import UNREACHABLE, Supervisor, socket_path
from infra.fleet.plan import Plan
from infra.fleet.progress import Progress
from infra.fleet.state import CHOICES, point_away
from infra.postgres.placement import haven_of, remove_haven


def stop(plan: Plan, progress: Progress) -> bool:
    """End every process of the fleet; whether there were any."""
    supervisor = Supervisor(plan.state)
    running = supervisor.alive()
    if running:
        # Whatever it doesn't manage is swept up below, the supervisor itself included.
        incomplete = suppress(ServerFailed, xmlrpc.client.Error, *UNREACHABLE)
        with progress.step("Stopping the fleet"), incomplete:
            supervisor.shutdown()
    left = leftovers.leftovers(plan.state, plan.data_folders())
    if left:
        with progress.step(f"Ending {len(left)} processes that were left"):
            leftovers.end(left)
    socket_path(plan.state).unlink(missing_ok=True)
    point_away(plan.state)
    return running or bool(left)


def purge(plan: Plan) -> None:
    """Delete the state of a fleet that has been stopped."""
    if not (plan.state / CHOICES).exists():
        raise FleetError(f"{plan.state} is not a fleet's folder: nothing was deleted.")
    remove_haven(plan.state)
    shutil.rmtree(plan.state)


def describe(plan: Plan, *, was_running: bool, purged: bool) -> Mapping[str, object]:
    """The document of `down --json`."""
    return {
        "stopped": was_running,
        "purged": purged,
        "state": str(plan.state),
        "outside": str(haven_of(plan.state)) if haven_of(plan.state).exists() else None,
    }
