"""A program that is forked finds, says and leaves what it does in an interpreter of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.forked import LIBRARIES, Programs

TELLS = """
import atexit, json, os, signal, sys, threading
import beside
from django.conf import settings

found = {
    "arguments": sys.argv, "path": sys.path, "folder": os.getcwd(), "name": __name__,
    "environment": dict(os.environ), "file": os.path.abspath(__file__), "beside": beside.__file__,
    "input": sys.stdin.read(), "terminal": sys.stdout.isatty(), "settings": settings.configured,
    "children": signal.getsignal(signal.SIGCHLD), "alarm": signal.getsignal(signal.SIGALRM),
    "files": sorted(os.listdir("/proc/self/fd"))[:3], "encoding": sys.stdout.encoding,
    "main": sys.modules["__main__"].__dict__ is globals(),
}
print(json.dumps(found, sort_keys=True))
print("of no use", file=sys.stderr)
atexit.register(print, "at exit")
threading.Thread(target=lambda: print("in a thread")).start()
"""
ENVIRONMENT = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
ENDS = {"returns": "", "exits": "sys.exit(3)", "explains": "sys.exit('no')",
        "raises": "raise ValueError('no')", "is killed": "os.kill(os.getpid(), 9)"}  # fmt: skip


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    started = Programs(ENVIRONMENT)
    yield started
    started.close()


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("how", ["script", "module"])
def test_it_is_as_in_an_interpreter_of_its_own(
    programs: Programs, tmp_path: Path, how: str, end: str
) -> None:
    (tmp_path / "beside.py").touch()
    (tmp_path / "tells.py").write_text(TELLS + ENDS[end])
    words = {"script": ["tells.py", "--a", "b c"], "module": ["-m", "tells", "x"]}[how]
    environment = {**ENVIRONMENT, "SAYS": "ä\nb"}
    real = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    forked = programs.run(words, folder=tmp_path, environment=environment, seconds=240)
    assert forked.returncode == real.returncode
    assert forked.stdout == real.stdout
    assert forked.stderr.splitlines()[-1:] == real.stderr.splitlines()[-1:]


def test_one_that_does_not_end_is_killed(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "sleeps.py").write_text("import time; time.sleep(3600)")
    done = programs.run(["sleeps.py"], folder=tmp_path, environment={}, seconds=1)
    assert done.returncode == -9


def test_nothing_of_the_project_is_in_memory_before(programs: Programs, tmp_path: Path) -> None:
    packages = ("config", "console", "desk", "gateway", "infra", "regions", "tenants", "tests")
    (tmp_path / "lists.py").write_text(
        f"import sys; print({LIBRARIES}[0] in sys.modules,"
        f" [name for name in sys.modules if name.partition('.')[0] in {packages}])"
    )
    done = programs.run(["lists.py"], folder=tmp_path, environment={}, seconds=240)
    assert done.stdout == "True []\n", done.stderr
