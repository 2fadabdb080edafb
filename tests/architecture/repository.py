"""The files of the repository, as git sees them: tracked, or new and not ignored."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("platform", "tenants", "regions", "infra", "testkit")


@cache
def files(*patterns: str) -> tuple[Path, ...]:
    """Existing files that match, relative to the root. Works without git too (an archive)."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode == 0:
        names = [name for name in listing.stdout.split("\0") if name]
    else:
        names = [
            str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.rglob(pattern)
        ]
        names = [name for name in names if not name.startswith(".")]
    return tuple(Path(name) for name in sorted(names) if (ROOT / name).is_file())


def read(path: Path) -> str:
    """The file's text, or nothing when it is binary."""
    try:
        return (ROOT / path).read_text()
    except UnicodeDecodeError:
        return ""
