"""A command whose process is killed at the moment at which it says something, and not later:
`python -m tests.fleet.killed WHAT WORDS…` is `manage.py WORDS…` until then."""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path

from django.core.management import execute_from_command_line

REPOSITORY = Path(__file__).parents[2]


class LastWords(io.StringIO):
    """Standard error."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what

    def write(self, said: str) -> int:
        if self._what in said:
            os.kill(os.getpid(), signal.SIGKILL)
        assert sys.__stderr__
        return sys.__stderr__.write(said)


def main(what: str, *words: str) -> None:
    sys.path.insert(1, str(REPOSITORY / "platform"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    sys.stderr = LastWords(what)
    execute_from_command_line(["manage.py", *words])


if __name__ == "__main__":
    main(*sys.argv[1:])
