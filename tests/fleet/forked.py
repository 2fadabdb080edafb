"""Runs Python programs in forks of a process that has the libraries in memory which they import.

Guarantees that a program finds what a new interpreter would give it: arguments, environment,
folder, `sys.path`, streams, and an end with whatever runs at exit. Nothing of the project is in
memory before it starts, settings least of all: each program picks its own. To read the libraries
again for every command would take a third of what the fleet's tests take.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

LIBRARIES = (
    "celery.app.base",
    "celery.signals",
    "django.contrib.admin",
    "django.contrib.postgres.fields",
    "django.core.management",
    "django.db.backends.postgresql.base",
    "django.http",
    "httpx",
    "psutil",
    "redis",
    "rich.console",
    "rich.progress",
    "rich.table",
    "supervisor.xmlrpc",
)
REQUEST_BYTES = 1 << 20


class Programs:
    """What starts them, in a process that ends with this one. What Python itself reads from the
    environment, such as how it buffers, it has read from this one."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        atexit.register(self.close)

    def run(
        self, words: Sequence[str], *, folder: Path, environment: Mapping[str, str], seconds: int
    ) -> subprocess.CompletedProcess[str]:
        """`python WORDS…`: a script or `-m` and a module, and more; killed if it takes longer."""
        request = {
            "words": list(words),
            "folder": str(folder),
            "environment": dict(environment),
            "seconds": seconds,
        }
        ours, theirs = os.pipe()
        with (
            open(ours) as status,
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
        ):
            files = [out.fileno(), err.fileno(), theirs]
            socket.send_fds(self._requests, [json.dumps(request).encode()], files)
            os.close(theirs)
            code = int(status.read())
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(list(words), code, out.read(), err.read())

    def close(self) -> None:
        self._requests.close()
        self._server.wait(timeout=60)


def serve(requests: socket.socket) -> None:
    """Until nobody is left who could ask. Returns in each program's process, too: to run it."""
    for library in LIBRARIES:
        import_module(library)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who watches a program ends by itself
    while True:
        request, files, _, _ = socket.recv_fds(requests, REQUEST_BYTES, 3)
        if not request:
            return
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            watch(json.loads(request), *files)
            return
        for file in files:
            os.close(file)


def watch(request: dict[str, Any], out: int, err: int, status: int) -> None:
    """Tells its status once it has ended, and ends itself. Returns in the program's process."""
    program = os.fork()
    if program:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(program, signal.SIGKILL))
        signal.alarm(request["seconds"])
        _, ended = os.waitpid(program, 0)
        os.write(status, str(os.waitstatus_to_exitcode(ended)).encode())
        os._exit(0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for file in (out, err, status):
        os.close(file)
    run(request["words"], request["folder"], request["environment"])


def run(words: list[str], folder: str, environment: dict[str, str]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if words[0] == "-m":
        sys.argv, sys.path[0] = words[1:], folder
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = words, str(Path(folder, words[0]).parent)
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
