"""Gets the apps and their test suites from the package registry, once, into `.compat/`.

A wheel leaves an app's tests out, so its source distribution is unpacked beside it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.compat.suites import Suite

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
FOLDER = ROOT / ".compat"
LIBRARIES = FOLDER / "lib"
SOURCES = FOLDER / "src"
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


def fetch(suite: Suite) -> None:
    """Nothing, when `.compat/` is what the requirements say. Raises RuntimeError with pip's own
    words when the registry can't be reached."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    stamp = FOLDER / "fetched"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(FOLDER, ignore_errors=True)
        SOURCES.mkdir(parents=True)
        _pip("install", "--no-deps", "--target", str(LIBRARIES), "--requirement", str(REQUIREMENTS))
        stamp.write_text(wanted)
    if not (SOURCES / suite.name).exists():
        _unpack(suite)


def _unpack(suite: Suite) -> None:
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        _pip(
            *("download", "--no-deps", "--no-binary", suite.distribution),
            *("--dest", folder, pinned(suite.distribution)),
        )
        (archive,) = Path(folder).glob("*.tar.gz")
        with tarfile.open(archive) as content:
            content.extractall(Path(folder) / "unpacked", filter="data")
        (unpacked,) = (Path(folder) / "unpacked").iterdir()
        unpacked.rename(SOURCES / suite.name)


def pinned(distribution: str) -> str:
    """The line of the requirements that names it."""
    found = re.search(rf"^{re.escape(distribution)}==.+$", REQUIREMENTS.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{distribution} is not pinned in {REQUIREMENTS.name}.")
    return found.group()


def _pip(*arguments: str) -> None:
    done = subprocess.run(
        [*_PIP, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"pip {arguments[0]} failed:\n{done.stdout[-2000:]}")
