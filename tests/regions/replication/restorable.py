"""A region with a cluster of its own: it can be stopped, copied and put back without the others."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import replace
from pathlib import Path

from infra.postgres.account import server_account
from infra.postgres.cluster import Cluster, prepare, wait_until_ready
from regions.deployment import ADMIN_ROLE, Deployment, Endpoint
from testkit.grounds import grounds
from testkit.ports import free_ports
from testkit.servers import start_cluster
from tests.faults.world import Server, copy_of, put_back
from tests.regions.replication.club import DE


class Restorable:
    """A region's cluster of its own, which goes down for a copy of its files, or for an old one."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        placement = grounds().placement
        self.port = next(free_ports())
        self.cluster = Cluster(
            folder / "own" / "pgdata", self.port, placement.binaries, server_account()
        )
        self._folder = folder
        self._dsn = replace_site(deployment, self).dsn(DE, "postgres", ADMIN_ROLE)
        prepare(self.cluster, deployment.password(ADMIN_ROLE))
        self.server = Server(self._start, self.cluster.account)

    def _start(self) -> subprocess.Popen[bytes]:
        process = start_cluster(self.cluster, self._folder, durable=False)
        grounds().guard.ends(process.pid)
        return process

    def start(self) -> None:
        self.server.start()
        wait_until_ready(self._dsn, timeout=300)

    def back_up(self) -> Path:
        self.server.stop(signal.SIGINT)
        copy = copy_of(self.cluster)
        self.start()
        return copy

    def restore(self, backup: Path) -> None:
        self.server.kill()
        put_back(self.cluster, backup)
        self.start()


def replace_site(deployment: Deployment, own: Restorable) -> Deployment:
    at = Endpoint("127.0.0.1", own.port)
    site = replace(deployment.region(DE), postgres=at, pooler=None)
    links = {pair: at if pair[1] == DE else end for pair, end in deployment.links.items()}
    return replace(deployment, regions={**deployment.regions, DE: site}, links=links)
