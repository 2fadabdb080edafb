"""Every operator command explains itself and speaks JSON."""

import os
import subprocess
import sys
from argparse import ArgumentParser, _SubParsersAction
from pathlib import Path

import pytest
from django.core import management
from django.core.management import find_commands, load_command_class

from regions.cli import PlatformCommand, VerbCommand
from tests.architecture.repository import ROOT, files


def get_core_commands() -> set[str]:
    """Commands that Django has and that we only restrict keep Django's options."""
    return set(find_commands(str(Path(management.__file__).parent)))


COMMANDS = [
    (path.parts[-4], path.stem)
    for path in files("*/management/commands/*.py")
    if not path.stem.startswith("_") and path.stem not in get_core_commands()
]


def parsers(app: str, name: str) -> dict[str, ArgumentParser]:
    command = load_command_class(app, name)
    if not isinstance(command, PlatformCommand):
        pytest.fail(f"{name} does not derive from regions.cli.PlatformCommand or VerbCommand")
    parser = command.create_parser("manage.py", name)
    assert parser.description
    if not isinstance(command, VerbCommand):
        return {"": parser}
    verbs = next(action for action in parser._actions if isinstance(action, _SubParsersAction))
    return dict(verbs.choices)


@pytest.mark.parametrize("command", ["cell", "region", "tenant"])
def test_a_verb_pays_for_the_imports_of_no_other(command):
    heavy = ("httpx", "redis", "regions.failover.replica", "rich", "tenants.lifecycle",
             "tenants.rollout.planning")  # fmt: skip
    loads = (
        "import sys; sys.path.insert(1, 'platform'); import django; django.setup();"
        f"from tenants.management.commands import {command};"
        f"print([name for name in sys.modules if name in {heavy}])"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
    done = subprocess.run(
        [sys.executable, "-c", loads], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    assert done.stdout.strip() == b"[]"


def test_there_are_commands():
    assert ("tenants", "residency") in COMMANDS


@pytest.mark.parametrize(("app", "name"), COMMANDS)
def test_every_verb_has_help_and_json(app, name):
    for verb, parser in parsers(app, name).items():
        assert parser.description, f"{name} {verb} has no help"
        options = {option for action in parser._actions for option in action.option_strings}
        assert "--json" in options, f"{name} {verb} has no --json"
