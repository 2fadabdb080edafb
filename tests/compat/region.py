"""A deployment of one region for one suite: a real PostgreSQL cluster, and nothing after it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from regions.deployment import ADMIN_ROLE, Deployment
from testkit.grounds import Grounds
from tests.compat.fetch import LIBRARIES, ROOT, SOURCES
from tests.compat.suites import Suite

HERE = Path(__file__).parent
REGION = "eu-west"


@dataclass(frozen=True)
class Place:
    """Where a suite's children work."""

    state: Path
    deployment: Deployment
    suite: Suite

    def child(self, mode: str, *command: str, arguments: Sequence[str] = ()) -> str:
        """Run one and return what it printed. Raises RuntimeError with that, when it failed."""
        path = [
            HERE,
            *(SOURCES / self.suite.name / root for root in self.suite.roots),
            self.state / "generated",
            ROOT,
            ROOT / "platform",
            LIBRARIES,
        ]
        done = subprocess.run(
            [sys.executable, str(HERE / "child.py"), *command],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join(map(str, path)),
                "PYTHONDONTWRITEBYTECODE": "1",
                "DJANGO_SETTINGS_MODULE": "compat_settings",
                "MERIDIAN_DIR": str(self.state),
                "COMPAT_SUITE": self.suite.name,
                "COMPAT_MODE": mode,
                "COMPAT_SOURCES": str(SOURCES),
                "COMPAT_ARGUMENTS": json.dumps(arguments),
                "COMPAT_USER": ADMIN_ROLE,
                "COMPAT_PASSWORD": self.deployment.password(ADMIN_ROLE),
                "COMPAT_PORT": str(self.deployment.region(REGION).postgres.port),
                **({} if command[0] == "prepare" else {"MERIDIAN_REGION": REGION}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=HERE,
        )
        if done.returncode:
            raise RuntimeError(f"{self.suite.name} {mode} {command[0]}:\n{done.stdout[-6000:]}")
        return done.stdout


@contextmanager
def start(suite: Suite) -> Iterator[Place]:
    """A control cell and a tenant a mode, with the suite's apps in them."""
    grounds = Grounds(regions=1)
    try:
        with grounds.clusters() as deployment:
            made = Place(grounds.plan.state, deployment, suite)
            for label in suite.generated:
                package = made.state / "generated" / f"compat_{label}"
                package.mkdir(parents=True)
                (package / "__init__.py").touch()
            if suite.generated:
                made.child("plain", "migrations")
            made.child("shared", "prepare")
            yield made
    finally:
        grounds.end()
