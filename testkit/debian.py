"""Programs out of Debian's packages: no root, nothing is installed, kept for the next run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


class NotToBeHad(Exception):
    """This machine does not have the program, and it could not be brought here."""


def unpacked(folder: Path, *packages: str) -> Path:
    """The root of the packages' files, kept in `folder`. Raises NotToBeHad, with the reason."""
    root = folder / "root"
    return root if root.exists() else _unpack(folder, packages)


def _unpack(folder: Path, packages: tuple[str, ...]) -> Path:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise NotToBeHad(f"there is no {tool} to get {packages[0]} with")
    fresh = folder / "fresh"
    shutil.rmtree(folder, ignore_errors=True)
    for each in (fresh, folder / "lists" / "partial", folder / "archives" / "partial"):
        each.mkdir(parents=True)
    try:
        _apt("download", *packages, cwd=fresh)
    except subprocess.SubprocessError:
        # The machine has no list of packages yet, or an old one: one of our own.
        own = ["-o", f"Dir::State::Lists={folder / 'lists'}", "-o", f"Dir::Cache={folder}"]
        try:
            _apt(*own, "update", cwd=fresh)
            _apt(*own, "download", *packages, cwd=fresh)
        except subprocess.SubprocessError as error:
            reason = (getattr(error, "stdout", None) or str(error))[-500:]
            raise NotToBeHad(f"Debian's {packages[0]} can't be had: {reason}") from error
    for package in fresh.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(fresh / "root")], check=True)
    # Whole, or not there at all.
    (fresh / "root").rename(folder / "root")
    return folder / "root"


def _apt(*words: str, cwd: Path) -> None:
    subprocess.run(
        ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", *words],
        cwd=cwd,
        check=True,
        text=True,
        timeout=120,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
