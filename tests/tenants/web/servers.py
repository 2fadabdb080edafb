"""Real web servers of a region, as the fleet runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from infra.fleet.state import REPOSITORY
from testkit.ports import free_ports
from tests.settings import TEST_GUARD

START_SECONDS = 240


@contextmanager
def web(
    region: str,
    log: Path,
    interface: str,
    *,
    settings: str = "tests.tenants.web.settings",
    application: str = "",
    threads: int = 8,
) -> Iterator[int]:
    """One worker process; the port that it listens on. `interface`: wsgi or asgi; `application`:
    another than the platform's own."""
    port = next(free_ports())
    command = [sys.executable, "-m", "granian", "--interface", interface, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    command += ["--blocking-threads", str(threads), "--no-ws"] if interface == "wsgi" else ["--ws"]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'platform'}",
        "DJANGO_SETTINGS_MODULE": settings,
        "MERIDIAN_REGION": region,
    }
    with (
        log.open("ab") as output,
        subprocess.Popen(
            [*command, application or f"config.{interface}:application"],
            env=environment,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        TEST_GUARD.ends(process.pid)
        try:
            _wait(port, log)
            yield port
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def pooled(port: int, state: str) -> int:
    """How many of the server's connections to its databases are `in_use`, or `idle`."""
    page = httpx.get(
        f"http://127.0.0.1:{port}/metrics",
        headers={"Host": "127.0.0.1"},
        timeout=START_SECONDS,
        trust_env=False,
    )
    found = re.search(rf'meridian_pool_connections\{{[^}}]*state="{state}"\}} (\d+)', page.text)
    assert found, page.text
    return int(found[1])


def _wait(port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            url = f"http://127.0.0.1:{port}/healthz/live"
            if httpx.get(url, timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError(f"the server does not answer: {log.read_text()[-3000:]}")
