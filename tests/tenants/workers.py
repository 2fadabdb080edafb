"""Real Celery workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.fleet.state import REPOSITORY
from tests.settings import TEST_GUARD

START_SECONDS = 240
HASTY = "tests.tenants.hasty_settings"


@contextmanager
def worker(
    region: str, folder: Path, *options: str, settings: str = "tests.tenants.worker_settings"
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of the region; its log is `<folder>/worker-<region>.log`."""
    command = [sys.executable, "-m", "celery", "-A", "config", "worker", "-Q", region]
    command += ["-I", "tests.tenants.jobs", "--without-gossip", "--without-mingle"]
    command += ["--hostname", f"{region}-{time.monotonic_ns()}@test", "--loglevel", "INFO"]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'platform'}",
        "DJANGO_SETTINGS_MODULE": settings,
        "MERIDIAN_REGION": region,
    }
    path = folder / f"worker-{region}.log"
    with path.open("ab") as log:
        began = log.tell()
        process = subprocess.Popen(
            [*command, *(options or ("--pool", "threads", "--concurrency", "2"))],
            cwd=REPOSITORY,
            env=environment,
            stdout=log,
            stderr=log,
        )
    TEST_GUARD.ends(process.pid)
    try:
        until(lambda: b" ready." in path.read_bytes()[began:], START_SECONDS, path.read_text)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=120)


def until(
    done: Callable[[], Any], seconds: float = 240, said: Callable[[], str] = lambda: ""
) -> Any:
    """Wait for a true answer; returns it. `said` explains a wait in vain."""
    deadline = time.monotonic() + seconds
    while True:
        answer = done()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"It did not happen in {seconds} s. {said()[-3000:]}"
        time.sleep(0.05)
