"""Runs `manage.py` for the fleet, as an operator would, and tells its failures in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from infra.errors import ServerFailed
from infra.fleet.plan import Plan
from infra.fleet.processes import environment
from infra.fleet.progress import Say
from infra.fleet.state import REPOSITORY


def inherited() -> dict[str, str]:
    """This process' environment without what would tell a fleet process another place."""
    foreign = ("MERIDIAN_", "DJANGO_", "PYTHONPATH", "SUPERVISOR_", "PG", "CELERY_", "GRANIAN_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def manage(plan: Plan, *arguments: str, say: Say | None = None) -> str:
    """The standard output of `manage.py ARGUMENTS…`; its progress lines go to `say`."""
    with (
        (plan.logs / "manage.log").open("a") as log,
        subprocess.Popen(
            [sys.executable, str(REPOSITORY / "manage.py"), *arguments],
            env={**inherited(), **environment(plan, REPOSITORY)},
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stderr is not None  # noqa: S101 - for the type checker
        assert process.stdout is not None  # noqa: S101
        last = ""
        for line in process.stderr:
            log.write(line)
            if text := line.strip():
                last = text
                if say is not None:
                    say(text)
        output = process.stdout.read()
    if process.returncode:
        command = " ".join(("manage.py", *arguments))
        raise ServerFailed(f"{command} failed: {last or 'no message'} (see {log_path(plan)})")
    return output


def manage_json(plan: Plan, *arguments: str, say: Say | None = None) -> Any:
    """The document that a command prints with `--json`."""
    return json.loads(manage(plan, *arguments, "--json", say=say))


def log_path(plan: Plan) -> Path:
    return plan.logs / "manage.log"
