"""A whole fleet for measurements: three regions, the edge, and one cell for each write policy."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.frame import Bench
from infra.fleet import faults
from infra.fleet.commands import manage_json
from infra.fleet.plan import Plan
from infra.fleet.progress import Progress
from infra.fleet.start import start
from infra.fleet.state import make_folder, only_launcher, settle_plan
from infra.fleet.stop import purge, stop
from infra.postgres.placement import place
from regions.deployment import Deployment, load
from regions.topology import CellSpec, TenancyMode, WritePolicy
from testkit.ports import free_port_base

PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Fleet:
    """`leased` has one standby, `active` is written in both of its regions."""

    plan: Plan
    deployment: Deployment
    leased: CellSpec
    active: CellSpec

    def manage(self, *arguments: str) -> Any:
        return manage_json(self.plan, *arguments)

    def heal(self) -> None:
        faults.heal_all(self.plan, lambda _: None)


@contextmanager
def fleet(bench: Bench) -> Iterator[Fleet]:
    """Within the block it runs; nothing of it is left after."""
    state = Path(tempfile.mkdtemp(prefix="meridian-bench-"))
    bench.closing.callback(shutil.rmtree, state, ignore_errors=True)
    progress = Progress(quiet=True)
    make_folder(state)
    with only_launcher(state):
        placement = place(state, {})
        plan = settle_plan(state, placement.data, regions=3, port_base=free_port_base())
        bench.say("starting a fleet of three regions")
        try:
            start(plan, placement, progress)
            deployment = load(plan.state / "deployment.json")
            specs = [_cell(plan, policy) for policy in ("active_passive", "active_active")]
            yield Fleet(plan, deployment, *specs)
        finally:
            stop(plan, progress)
            purge(plan)


def _cell(plan: Plan, policy: str) -> CellSpec:
    words = ("--mode", "dedicated", "--residency", "EU", "--policy", policy)
    made = manage_json(plan, "tenant", "create", f"bench-{policy.replace('_', '-')}", *words)
    regions = tuple(made["regions"])
    return CellSpec(made["cell"], TenancyMode.DEDICATED, WritePolicy(policy), regions)


def wait_until(done: Callable[[], bool], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Raises TimeoutError, which says `what` did not come to be."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.05)
