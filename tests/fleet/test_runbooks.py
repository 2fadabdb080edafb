"""The runbooks are true: their commands are read out of them and run, as an operator would.

A block marked `sh` is run as it stands. One with a second word (`when-it-is-lost`) changes more
than one cell: it is planned only, and `test_killed.py` and `test_drill.py` do it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.conftest import Fleet
from tests.fleet.test_drill import PLAYED
from tests.fleet.test_killed import AWAY, HOME
from tests.fleet.test_killed import OPERATIONS as KILLED

FOLDER = Path(__file__).parents[2] / "docs" / "runbooks"
OPERATIONS = (
    "switchover", "failover", "evacuate", "drain", "failback", "maintenance", "restore-a-region",
    "lost-quorum", "drills",
)  # fmt: skip
BLOCK = re.compile(r"```sh(?P<when> [-\w]+)?\n(?P<body>.*?)```", re.DOTALL)


def commands(name: str) -> Iterator[tuple[bool, list[str]]]:
    """Each command's words without comments, and whether it is run here."""
    for block in BLOCK.finditer((FOLDER / f"{name}.md").read_text()):
        for line in block["body"].splitlines():
            if words := shlex.split(line, comments=True):
                yield block["when"] is None, words


@pytest.fixture(scope="module")
def places(fleet: Fleet) -> dict[str, str]:
    tenant: dict[str, Any] = fleet.json(
        "tenant", "create", "runbook", "--mode", "shared", "--residency", "EU"
    )
    home, other = tenant["regions"]
    fleet.json("region", "failback", tenant["cell"])
    return {"$CELL": tenant["cell"], "$HOME": home, "$OTHER": other}


@pytest.fixture(scope="module")
def done() -> set[tuple[str, ...]]:
    """Commands that were run."""
    return set()


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_a_runbook_says_can_be_done(
    fleet: Fleet, places: dict[str, str], done: set[tuple[str, ...]], name: str
) -> None:
    found = list(commands(name))
    assert found
    for here, (program, *words) in found:
        assert program == "$P"
        arguments = tuple(places.get(word, word) for word in words)
        if not here:
            arguments = (*arguments, "--dry-run") if words[0] == "region" else ()
        if arguments and arguments not in done:  # pages share commands
            fleet.manage(*arguments)
            done.add(arguments)


def test_every_runbook_is_run() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} - {"README"} == set(OPERATIONS)


def test_what_is_only_planned_here_is_done_by_other_tests() -> None:
    there = {"$CELL": "{cell}", "$HOME": HOME, "$OTHER": AWAY}
    planned = {
        tuple(there.get(word, word) for word in words)
        for name in OPERATIONS
        for here, (_, *words) in commands(name)
        if not here
    }
    done = {("region", *command) for *_, command in KILLED}
    done |= {("drill", "run", scenario, "--cell", "{cell}") for scenario in PLAYED}
    done |= {("drill", "report")}
    assert planned
    assert planned <= done
