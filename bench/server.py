"""A web server of a stack under measurement: the same granian, with the same options."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench import load
from infra.fleet.ports import is_free

THREADS = 4


@dataclass(frozen=True)
class Server:
    """One worker process with THREADS threads."""

    port: int
    worker: psutil.Process

    def rate(self, requests: list[bytes], *, seconds: float) -> float:
        return load.requests_per_second(self.port, requests, seconds=seconds)


@contextmanager
def serve(
    python: Path,
    application: str,
    environment: Mapping[str, str],
    first: bytes,
    *,
    threads: int = THREADS,
) -> Iterator[Server]:
    """Run it until the block ends; returns once it answers `first`."""
    port = _free_port()
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            [
                *(str(python), "-m", "granian", "--interface", "wsgi", "--no-ws", "--http", "1"),
                *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
                *("--blocking-threads", str(threads), "--backpressure", "64"),
                *("--no-access-log", application),
            ],
            env=dict(environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            _wait(port, first, process, log)
            children = psutil.Process(process.pid).children()
            yield Server(port, max(children, key=lambda child: child.memory_info().rss))
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(port: int, first: bytes, process: subprocess.Popen[bytes], log: object) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            load.requests_per_second(port, [first], seconds=0.05, connections=1)
            return
        except (OSError, AssertionError) as error:
            if time.monotonic() > deadline or process.poll() is not None:
                log.seek(0)
                raise RuntimeError(f"the server does not answer: {error}\n{log.read()}") from error
            time.sleep(0.2)


def _free_port() -> int:
    return next(port for port in range(33_000, 39_000) if is_free(port))
