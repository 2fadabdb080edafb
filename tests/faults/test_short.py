"""A short run of the fault suite, on servers of its own: `make faults` runs the long one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from infra.fleet.commands import inherited
from tests.faults.world import REPOSITORY

COMMAND = (*(sys.executable, "-m", "tests.faults"), "--short", "--json", "--seed=7", "--seconds=6")


@pytest.mark.postgres
def test_nothing_acknowledged_is_lost_under_fire_and_the_checker_finds_what_a_control_loses() -> (
    None
):
    done = subprocess.run(
        COMMAND,
        cwd=REPOSITORY,
        env=inherited(),
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )
    assert done.stdout, done.stderr
    fabric, control = json.loads(done.stdout)
    assert fabric["faults"] == []
    assert fabric["acknowledged"] > 50
    assert fabric["surviving"] + fabric["replaced"] + fabric["recorded"] > 50
    assert control["control"]
    assert control["silent"] > 0, control
    assert done.returncode == 0, done.stderr
