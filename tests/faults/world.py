"""The servers under fire: each region's PostgreSQL and agent, and the WAN between the regions.

Guarantees that what was killed or frozen can be brought back, and that nothing outlives the run.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from infra.fleet.power import frozen_trees, send, tree
from infra.postgres.account import Account
from infra.postgres.cluster import Cluster, prepare, wait_until_ready
from infra.wan import conditions
from infra.wan.conditions import HEALTHY, Condition, Link
from regions.deployment import ADMIN_ROLE, Deployment
from testkit.grounds import Grounds
from testkit.servers import start_cluster

REPOSITORY = Path(__file__).parents[2]
STOP_SECONDS = 120
FULL_BYTES = 64 * 1024


class Server:
    """One process with all its children. `start` begins it, `kill` is a power cut."""

    def __init__(
        self, start: Callable[[], subprocess.Popen[bytes]], account: Account | None = None
    ) -> None:
        self._start = start
        self._as: dict[str, Any] = account.as_process() if account else {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Unless it runs."""
        if self._process is None or self._process.poll() is not None:
            self._process = self._start()

    def kill(self) -> None:
        """The whole tree at one blow: PostgreSQL's children leave its process group."""
        send(frozen_trees(self._running), signal.SIGKILL)
        if self._process is not None:
            self._process.wait(STOP_SECONDS)

    def freeze(self) -> None:
        """It keeps its sockets and does nothing."""
        frozen_trees(self._running)

    def thaw(self) -> None:
        send(tree(self._running), signal.SIGCONT)

    def fill_disk(self) -> None:
        """No file may grow beyond a few pages any more: to the server, its disk is full."""
        for process in tree(self._running):
            # By the account that it runs under: others may not.
            command = ["prlimit", f"--pid={process.pid}", f"--fsize={FULL_BYTES}:unlimited"]
            subprocess.run(command, check=False, capture_output=True, cwd="/", **self._as)

    def restart(self) -> None:
        """After a power cut: also of what is about to give up."""
        self.kill()
        self.start()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.thaw()
        send(map(psutil.Process, self._running), number)
        if self._process is not None:
            self._process.wait(STOP_SECONDS)

    @property
    def _running(self) -> list[int]:
        """Its id, which is nobody else's while it is not waited for."""
        alive = self._process is not None and self._process.poll() is None
        return [self._process.pid] if alive and self._process else []


class World:
    """`postgres` and `agents` by region; `links` are conditioned by `condition`."""

    def __init__(self, grounds: Grounds) -> None:
        self._grounds = grounds
        self.deployment: Deployment = grounds.deployment()
        self.regions = tuple(self.deployment.regions)
        self.clusters = {
            region.name: Cluster(
                grounds.plan.pgdata(region.name),
                region.postgres_port,
                grounds.placement.binaries,
                grounds.placement.account,
            )
            for region in grounds.plan.regions
        }
        self.postgres = {
            name: Server(self._cluster_of(name), grounds.placement.account) for name in self.regions
        }
        self.agents = {name: Server(self._agent_of(name)) for name in self.regions}
        self.wan = Server(lambda: self._python("wan", "infra.wan", str(self._grounds.plan.state)))

    def condition(self, link: Link, condition: Condition) -> None:
        """Of what flows from link[0] to link[1], from now on."""
        state = self._grounds.plan.state
        conditions.write(state, {**conditions.read(state), link: condition})

    def heal_links(self) -> None:
        conditions.write(self._grounds.plan.state, {})

    def await_postgres(self, region: str) -> None:
        wait_until_ready(self.deployment.dsn(region, "postgres", ADMIN_ROLE), timeout=240)

    def back_up(self, region: str) -> Path:
        """A copy of its files, as a power cut leaves them."""
        self.postgres[region].kill()
        backup = copy_of(self.clusters[region])
        self.postgres[region].start()
        self.await_postgres(region)
        return backup

    def restore(self, region: str, backup: Path) -> None:
        self.postgres[region].kill()
        put_back(self.clusters[region], backup)
        self.postgres[region].start()
        self.await_postgres(region)

    @contextmanager
    def running(self) -> Iterator[World]:
        """PostgreSQL and the WAN run within the block; agents run if they are started in it."""
        self._prepare()
        try:
            self.wan.start()
            for region in self.regions:
                self.postgres[region].start()
            for region in self.regions:
                self.await_postgres(region)
            yield self
        finally:
            for agent in self.agents.values():
                agent.stop()
            for server in self.postgres.values():
                server.stop(signal.SIGQUIT)
            self.wan.stop()

    def _prepare(self) -> None:
        """One new cluster, and copies of it."""
        password = self.deployment.password(ADMIN_ROLE)
        first, *others = self.clusters.values()
        prepare(first, password)
        for cluster in others:
            cluster.data.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", first.data, cluster.data], check=True)
            prepare(cluster, password)

    def _cluster_of(self, region: str) -> Callable[[], subprocess.Popen[bytes]]:
        def start() -> subprocess.Popen[bytes]:
            # Not a machine dies here, but processes: what they wrote, the system has.
            server = start_cluster(self.clusters[region], self._grounds.plan.logs, durable=False)
            self._grounds.guard.ends(server.pid)
            return server

        return start

    def _agent_of(self, region: str) -> Callable[[], subprocess.Popen[bytes]]:
        document = str(self._grounds.plan.state / "deployment.json")
        return lambda: self._python(
            f"{region}-agent",
            "regions.failover",
            *("--region", region, "--deployment", document),
        )

    def _python(self, name: str, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        logs = self._grounds.plan.logs
        logs.mkdir(exist_ok=True)
        with (logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                start_new_session=True,
            )
        self._grounds.guard.ends(process.pid)
        return process


def copy_of(cluster: Cluster) -> Path:
    """Of what lies on its disk; it is down."""
    copy = cluster.data.with_name(f"backup-{time.monotonic_ns()}")
    subprocess.run(["cp", "-a", cluster.data, copy], check=True)
    return copy


def put_back(cluster: Cluster, backup: Path) -> None:
    """It is all that lies there; the server is down."""
    shutil.rmtree(cluster.data)
    backup.rename(cluster.data)


def wait_for(what: str, done: Callable[[], bool], seconds: float) -> None:
    """Raises TimeoutError, saying what did not happen."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


__all__ = ["HEALTHY", "Server", "World", "copy_of", "put_back", "wait_for"]
