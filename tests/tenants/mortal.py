"""A process that does what it is told and is killed, by SIGKILL, at the step that it is told.

`python -m tests.tenants.mortal` reads one JSON document a line from standard input, does it in a
child of its own, and answers `killed` or `ended`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from infra.fleet.state import REPOSITORY


class Mortals:
    """Asks the process for one life after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def killed_at(self, step: int, verb: str, **arguments: Any) -> bool:
        """False: it ended before it came to that step."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([step, verb, arguments]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        assert answer in ("killed", "ended"), answer
        return answer == "killed"


@contextmanager
def mortals(
    module: str = "tests.tenants.mortal",
    *,
    settings: str = "tests.tenants.operator_settings",
    path: str = "",
) -> Iterator[Mortals]:
    """`path`: where else Python finds modules."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'platform'}:{path}",
        "DJANGO_SETTINGS_MODULE": settings,
    }
    command = [sys.executable, "-m", module]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdin=pipe, stdout=pipe, text=True
    ) as process:
        yield Mortals(process)
        assert process.stdin
        process.stdin.close()


def main(live: Callable[[int, str, dict[str, Any]], None]) -> None:
    """`live` is called in a child that is to die, and doesn't return."""
    import django

    django.setup()
    for line in sys.stdin:
        step, verb, arguments = json.loads(line)
        child = os.fork()
        if child == 0:
            live(step, verb, arguments)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            _say("killed")
        else:
            _say("ended" if status == 0 else f"failed: {status}")


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _live(step: int, verb: str, arguments: dict[str, Any]) -> None:
    from tenants import lifecycle

    left = step

    def progress(text: str, percent: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    getattr(lifecycle, verb)(**arguments, actor="mortal", progress=progress)
    os._exit(0)


if __name__ == "__main__":
    main(_live)
