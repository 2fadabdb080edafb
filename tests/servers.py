"""Servers that a test or a benchmark starts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from infra.postgres.cluster import Cluster


def start_cluster(cluster: Cluster, logs: Path) -> subprocess.Popen[bytes]:
    """Start one server in a session of its own, so that Ctrl-C reaches its parent only."""
    logs.mkdir(exist_ok=True)
    with (logs / f"{cluster.data.parent.name}-postgres.log").open("ab") as log:
        return subprocess.Popen(
            cluster.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            **(cluster.account.as_process() if cluster.account else {}),
        )
