"""The whole local fleet for the tests of this folder, through its own command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from infra.fleet.commands import inherited
from infra.fleet.state import REPOSITORY
from testkit.grounds import in_memory
from testkit.ports import FLEETS, free_port_base
from tests.fleet.forked import Programs
from tests.settings import TEST_GUARD

COMMAND_SECONDS = 240


@dataclass(frozen=True)
class Fleet:
    """A running fleet: its commands, and requests to its edge or to one region."""

    folder: Path
    port_base: int

    @property
    def environment(self) -> dict[str, str]:
        """Commands find this fleet, and leave the developer's own alone."""
        return {**inherited(), "MERIDIAN_DIR": str(self.folder)}

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`python -m infra.fleet ARGUMENTS…`"""
        return self._run(["-m", "infra.fleet", *arguments], check=check)

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`manage.py ARGUMENTS…`, by hand: with no region."""
        return self._run(["manage.py", *arguments], check=check)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`python ARGUMENTS…` in a new interpreter, whatever comes of it."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """The document of `manage.py ARGUMENTS… --json`."""
        return json.loads(self.manage(*arguments, "--json").stdout)

    def killed_before(self, where: str, *arguments: str) -> bool:
        """`manage.py ARGUMENTS…` until it is about to call a function, and whether it has got so
        far; see `killed.py`."""
        done = self.python("-m", "tests.fleet.killed", where, "manage.py", *arguments)
        return done.returncode == -signal.SIGKILL

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return document

    def region(self, name: str) -> dict[str, Any]:
        return next(region for region in self.status()["regions"] if region["name"] == name)

    def request(
        self, method: str, path: str, *, host: str, token: str = "", at: str = "", **options: Any
    ) -> httpx.Response:
        """One request through the edge, or straight to the web at the URL `at`."""
        headers = {"host": host, **options.pop("headers", {})}
        if token:
            headers["authorization"] = f"Bearer {token}"
        url = (at or f"http://127.0.0.1:{self.port_base}") + path
        return httpx.request(method, url, headers=headers, timeout=35, **options)

    def _run(self, arguments: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        done = programs().run(
            arguments, folder=REPOSITORY, environment=self.environment, seconds=COMMAND_SECONDS
        )
        if check:
            assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done


@cache
def programs() -> Programs:
    """What runs this session's commands, hundreds of them. That a new interpreter runs them as well
    is seen where `up` runs some, where several run at once, and where one is killed."""
    return Programs(inherited())


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """Three regions with everything running and no tenant."""
    with started() as fleet:
        yield fleet


@contextmanager
def started(*words: str) -> Iterator[Fleet]:
    """One that was brought up with these words more."""
    folder = Path(tempfile.mkdtemp(prefix="meridian-fleet-", dir=in_memory()))
    fleet = Fleet(folder, free_port_base(among=FLEETS))
    TEST_GUARD.removes(folder)
    TEST_GUARD.runs(
        [sys.executable, "-m", "infra.fleet", "down", "--purge", "--dir", str(folder)],
        cwd=REPOSITORY,
        env=fleet.environment,
    )
    try:
        fleet.run("up", "--dir", str(folder), "--port-base", str(fleet.port_base), *words)
        yield fleet
    finally:
        if logs := os.environ.get("MERIDIAN_KEEP_LOGS"):
            shutil.copytree(folder / "logs", logs, dirs_exist_ok=True)
        fleet.run("down", "--purge")
        assert not folder.exists()
        assert left_running(folder) == []


def left_running(folder: Path) -> list[str]:
    """Command lines of processes that still work in or for the state folder."""
    left = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if any(str(folder) in word for word in words):
            left.append(" ".join(words))
    return left
