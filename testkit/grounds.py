"""The deployment that a test run has to itself: its folder, its ports, its PostgreSQL clusters.

Guarantees that two runs never meet (free ports, a temporary folder), and that a run leaves nothing
behind, however it ends. Nothing is started before somebody asks for it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
from psycopg import sql

from infra.fleet.plan import Plan, deployment_document, make_plan
from infra.fleet.secrets import load_or_make
from infra.postgres.cluster import Cluster, prepare, wait_until_ready
from infra.postgres.placement import Placement, haven_of, place
from regions import cells
from regions.deployment import ADMIN_ROLE, Deployment, load
from testkit.guard import Guard
from testkit.ports import free_port_base, reserve
from testkit.servers import start_cluster, start_valkey

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of the run's own is made in it
ROOM = 4 << 30  # bytes: more than the parts of this suite take together


def in_memory() -> Path | None:
    """Where a run's folder is made: in memory if it has room, since a run makes and drops hundreds
    of databases of hundreds of files each. None: wherever temporary files are."""
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return None
    room = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available)
    return MEMORY if room >= ROOM else None


class Grounds:
    """One run's."""

    def __init__(self, regions: int, *, through_wan: bool = False) -> None:
        self.guard = Guard()
        state = Path(tempfile.mkdtemp(prefix="meridian-test-", dir=in_memory()))
        state.chmod(0o711)
        self.guard.removes(state)
        self.guard.removes(haven_of(state))
        self.placement: Placement = place(state, os.environ)
        self.plan: Plan = self._plan(state, regions)
        document = deployment_document(self.plan, through_wan=through_wan)
        (state / "deployment.json").write_text(json.dumps(document, indent=2))
        load_or_make(state)

    def _plan(self, state: Path, regions: int) -> Plan:
        """On ports that no other run takes before this one's servers have started."""
        while True:
            base = free_port_base(regions)
            plan = make_plan(state, regions=regions, port_base=base, data=self.placement.data)
            self._reserved = reserve(plan.edge_admin_port)
            if self._reserved is not None:
                return plan

    def end(self) -> None:
        """Now, rather than with the process."""
        self.guard.close()
        if self._reserved is not None:
            self._reserved.close()

    def deployment(self) -> Deployment:
        return load(self.plan.state / "deployment.json")

    @contextmanager
    def clusters(self) -> Iterator[Deployment]:
        """Each region's PostgreSQL, with nothing in it."""
        where = self.deployment()
        clusters = [
            Cluster(
                self.plan.pgdata(region.name),
                region.postgres_port,
                self.placement.binaries,
                self.placement.account,
            )
            for region in self.plan.regions
        ]
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda cluster: prepare(cluster, where.password(ADMIN_ROLE)), clusters))
        servers = [start_cluster(cluster, self.plan.logs, durable=False) for cluster in clusters]
        try:
            for server in servers:
                self.guard.ends(server.pid)
            for region in self.plan.regions:
                wait_until_ready(where.dsn(region.name, "postgres", ADMIN_ROLE), timeout=240)
                _set_password_again(where, region.name)
            yield where
        finally:
            for server in servers:
                server.send_signal(signal.SIGQUIT)
            for server in servers:
                server.wait(timeout=120)

    @contextmanager
    def valkeys(self) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
        """Each region's Valkey, empty, by the region's name."""
        servers = {}
        try:
            for name, site in self.deployment().regions.items():
                servers[name] = start_valkey(site.valkey_url(), self.plan.state)
                self.guard.ends(servers[name].pid)
            yield servers
        finally:
            for server in servers.values():
                server.terminate()
            for server in servers.values():
                server.wait(timeout=120)


def _set_password_again(where: Deployment, region: str) -> None:
    """The administrator's was set when the cluster was made, under other settings."""
    with cells.administrator(where, region) as admin:
        words = sql.SQL("ALTER ROLE {} PASSWORD {}")
        password = sql.Literal(where.password(ADMIN_ROLE))
        admin.execute(words.format(sql.Identifier(ADMIN_ROLE), password))


_grounds: Grounds | None = None


def grounds(regions: int = 1, *, through_wan: bool = False) -> Grounds:
    """This run's: `MERIDIAN_DIR` names it to this process and to those that it starts. Whoever asks
    first says how many regions there are, and whether the links between them are the WAN proxy's,
    which has to be started, or lead straight to the peers."""
    global _grounds
    if _grounds is None:
        _grounds = Grounds(regions, through_wan=through_wan)
        os.environ["MERIDIAN_DIR"] = str(_grounds.plan.state)
        os.environ.pop("MERIDIAN_REGION", None)
    return _grounds
