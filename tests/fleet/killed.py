"""A program that is killed when it is about to call a function, and not later:
`python -m tests.fleet.killed MODULE:NAME[@TEXT] manage.py WORDS…`, or the name of a module;
with a text: only if that is in what the function is called with."""

from __future__ import annotations

import os
import runpy
import signal
import sys
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]


def kill_before(where: str) -> None:
    function, _, text = where.partition("@")
    module, _, name = function.partition(":")
    *outer, last = name.split(".")
    owner = reduce(getattr, outer, import_module(module))
    real = getattr(owner, last)

    def killed(*args: Any, **options: Any) -> Any:
        if text in repr((args, options)):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)

    setattr(owner, last, killed)


def main(where: str, *words: str) -> None:
    if words[0] != "manage.py":
        kill_before(where)
        sys.argv = [*words]
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        return
    import django
    from django.core.management import execute_from_command_line

    sys.path.insert(1, str(REPOSITORY / "platform"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    kill_before(where)
    execute_from_command_line([*words])


if __name__ == "__main__":
    main(*sys.argv[1:])
