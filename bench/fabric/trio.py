"""Three regions with a table in an active-active cell, their appliers, and the WAN between them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench.fabric.stream import TICKETS
from infra.wan import conditions
from infra.wan.conditions import Condition
from regions import cells
from regions.deployment import OWNER_ROLE, Deployment
from regions.replication import capture
from regions.topology import CellSpec, TenancyMode, WritePolicy
from testkit.grounds import Grounds


@dataclass(frozen=True)
class Trio:
    spec: CellSpec
    deployment: Deployment
    state: Path

    def connect(self, region: str) -> psycopg.Connection[Any]:
        """The table's owner, in the region itself."""
        dsn = self.deployment.dsn(region, self.spec.database, OWNER_ROLE)
        return psycopg.connect(dsn, autocommit=True)

    def condition(self, every: Condition) -> None:
        """Of all links, both ways."""
        regions = self.spec.regions
        conditions.write(self.state, {(a, b): every for a in regions for b in regions if a != b})
        time.sleep(0.2)  # the proxy looks 20 times a second


@contextmanager
def start() -> Iterator[Trio]:
    """Afterwards nothing of it is left."""
    grounds = Grounds(3, through_wan=True)
    with ExitStack() as stack:
        stack.callback(grounds.end)
        state = grounds.plan.state

        def run(module: str, *arguments: str) -> None:
            process = subprocess.Popen([sys.executable, "-m", module, *arguments])
            grounds.guard.ends(process.pid)
            stack.callback(process.wait)
            stack.callback(process.terminate)

        deployment = stack.enter_context(grounds.clusters())
        run("infra.wan", str(state))
        spec = CellSpec(
            "bench", TenancyMode.DEDICATED, WritePolicy.ACTIVE_ACTIVE, tuple(deployment.regions)
        )
        for region in spec.regions:
            cells.prepare_region(deployment, region)
        cells.create_databases(deployment, spec)
        for region in spec.regions:
            with psycopg.connect(deployment.dsn(region, spec.database, OWNER_ROLE)) as owner:
                owner.execute(TICKETS)
                capture.attach(owner, "public")
        cells.connect_replicas(deployment, spec)
        for region in spec.regions:
            run("bench.fabric.applier", str(state / "deployment.json"), region, *spec.regions)
        yield Trio(spec, deployment, state)
