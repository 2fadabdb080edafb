"""What an operator is told to do next: pure."""

from __future__ import annotations

import pytest

from tenants.rollout.advice import advise

OPTIONS = {"cells": ["eu-schema", "eu-shared"], "contract": True}


@pytest.mark.parametrize(
    ("state", "counts", "later", "said", "command"),
    [
        ("running", {"running": 2}, [], "under way", "--contract --resume"),
        ("halted", {"failed": 9}, [], "halted", "--contract --resume"),
        ("failed", {"failed": 1, "blocked": 2}, [], "1 in quarantine", "--retry-quarantined"),
        ("failed", {"blocked": 2, "skipped": 1}, [], "3 could not be reached", "--contract"),
        ("done", {"done": 5}, ["us-east"], "Left for later in us-east", "--contract"),
    ],
)
def test_the_next_command_names_the_cells_and_what_the_run_was_allowed(
    state: str, counts: dict, later: list, said: str, command: str
):
    advice = advise(state, OPTIONS, counts, later)
    assert said in advice.sentence
    assert advice.command.startswith("manage.py cell migrate eu-schema eu-shared --contract")
    assert advice.command.endswith(command)


def test_when_all_is_done_there_is_no_command():
    assert advise("done", OPTIONS, {"done": 5}, []).command == ""
