"""Leaves nothing running when a test run ends, even by SIGKILL.

A small process that reads from its standard input what the run started. When the run ends, in
whatever way, that pipe closes: the guard then runs the clean-up commands, ends the processes
that are still the same (by id and start time), and deletes the folders.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil


class Guard:
    """The test run's end of the pipe."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        atexit.register(self.close)

    def ends(self, pid: int) -> None:
        """The process and its children must not outlive the run."""
        self._say(process=[pid, psutil.Process(pid).create_time()])

    def removes(self, folder: Path) -> None:
        """The folder must not outlive the run."""
        self._say(folder=str(folder))

    def runs(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        """The command must be run after the run."""
        self._say(command=list(command), cwd=str(cwd), env=dict(env))

    def close(self) -> None:
        """Clean up now."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
            self._process.wait(timeout=300)

    def _say(self, **what: object) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()


def end_tree(pid: int, created: float) -> None:
    """Kill a process and its children, unless the id belongs to another process by now."""
    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - created) > 0.1:
            return
        tree = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in tree:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(tree, timeout=10)


def main() -> None:
    os.chdir("/")
    promises = [json.loads(line) for line in sys.stdin]
    for promise in promises:
        if "command" in promise:
            subprocess.run(
                promise["command"],
                cwd=promise["cwd"],
                env=promise["env"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
    for promise in promises:
        if "process" in promise:
            end_tree(*promise["process"])
    for promise in promises:
        if "folder" in promise:
            shutil.rmtree(promise["folder"], ignore_errors=True)


if __name__ == "__main__":
    main()
