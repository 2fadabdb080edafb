"""The region's agent and web server, for benchmarks that wait until something is really served."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from typing import IO, TYPE_CHECKING

from bench.server import THREADS

if TYPE_CHECKING:
    from bench.region import BenchRegion

START_SECONDS = 60


@contextmanager
def live(region: BenchRegion) -> Iterator[None]:
    """Both as in the fleet, until the block ends: the agent leads and publishes, the web serves.
    No edge. Afterwards the control cell takes writes without an agent, as before."""
    address = region.deployment.region(region.name)
    agent = (
        *(sys.executable, "-m", "regions.failover", "--region", region.name),
        *("--deployment", str(region.plan.state / "deployment.json")),
    )
    web = (
        *(sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws", "--http", "1"),
        *("--host", address.web.host, "--port", str(address.web.port), "--workers", "1"),
        *("--blocking-threads", str(THREADS), "--no-access-log", "config.wsgi:application"),
    )
    for old in address.map_dir.glob("*"):
        old.unlink()
    try:
        with ExitStack() as stack:
            logs = [stack.enter_context(_running(region, command)) for command in (agent, web)]
            _wait(address.web.host, address.web.port, logs)
            yield
    finally:
        with region.administrator("control") as admin:
            admin.execute("UPDATE fabric.gate SET valid_until = 'infinity'")
        region.publish()


@contextmanager
def _running(region: BenchRegion, command: tuple[str, ...]) -> Iterator[IO[str]]:
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            command,
            env=region.environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            yield log
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(host: str, port: int, logs: list[IO[str]]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            connection = HTTPConnection(host, port, timeout=5)
            connection.request("GET", "/healthz/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            for log in logs:
                log.seek(0)
            raise RuntimeError(f"the region does not serve: {[log.read()[-2000:] for log in logs]}")
        time.sleep(0.2)
