"""The peers' own environment under `.bench/`, with the versions that Meridian itself pins."""

from __future__ import annotations

import re
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg import sql

from bench.region import REPOSITORY, run_quietly
from infra.fleet.plan import HOST
from regions.deployment import ADMIN_ROLE

if TYPE_CHECKING:
    from bench.frame import Bench

FOLDER = Path(__file__).parent
TOGETHER = ("Django", "psycopg", "granian", "django-tenants")


@dataclass(frozen=True)
class Peers:
    """`python` is the peers' interpreter; their databases are in the bench's region."""

    bench: Bench
    python: Path

    def environment(self, settings: str) -> dict[str, str]:
        """For a process of the peer `settings`: peer_plain or peer_tenants."""
        region = self.bench.region
        return {
            **{k: v for k, v in region.environment().items() if not k.startswith("MERIDIAN")},
            "DJANGO_SETTINGS_MODULE": settings,
            "PYTHONPATH": str(FOLDER),
            "BENCH_DATABASE": settings,
            "BENCH_USER": ADMIN_ROLE,
            "BENCH_PASSWORD": region.deployment.password(ADMIN_ROLE),
            "BENCH_HOST": HOST,
            "BENCH_PORT": str(region.plan.region(region.name).postgres_port),
        }

    def prepare(self, settings: str, *slugs: str) -> None:
        """A fresh database with the peer's tables, rows and tenants."""
        self.bench.say(f"preparing {settings}, {len(slugs)} tenants")
        database = sql.Identifier(settings)
        with self.bench.region.administrator() as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
            admin.execute(sql.SQL("CREATE DATABASE {}").format(database))
        command = [str(self.python), str(FOLDER / "prepare.py"), *slugs]
        run_quietly(command, env=self.environment(settings), cwd=FOLDER)


def install(bench: Bench) -> Peers:
    """Make the environment, or bring it to the pinned versions."""
    return Peers(bench, made(bench, "venv", _pins()))


def made(bench: Bench, name: str, wanted: list[str]) -> Path:
    """The interpreter of the environment `.bench/<name>`, which has what is wanted."""
    folder = REPOSITORY / ".bench" / name
    python = folder / "bin" / "python"
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != "\n".join(wanted):
        bench.say(f"installing {', '.join(wanted)} into .bench")
        venv.create(folder, with_pip=True, clear=True)
        run_quietly([str(python), "-m", "pip", "install", "--disable-pip-version-check", *wanted])
        stamp.write_text("\n".join(wanted))
    return python


def _pins() -> list[str]:
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    found = [line for line in lines if re.split(r"[=\[]", line)[0] in TOGETHER]
    assert len(found) == len(TOGETHER), f"{sys.argv[0]}: requirements.txt lacks one of {TOGETHER}"
    return found
