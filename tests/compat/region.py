"""A deployment of one region for one suite: a real PostgreSQL cluster, and nothing after it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.fleet.plan import deployment_document, make_plan
from infra.fleet.secrets import load_or_make
from infra.postgres.cluster import Cluster, prepare, wait_until_ready
from infra.postgres.placement import haven_of, place
from regions.deployment import ADMIN_ROLE, Deployment, load
from tests.compat.fetch import LIBRARIES, ROOT, SOURCES
from tests.compat.suites import Suite
from tests.guard import Guard
from tests.ports import free_port_base
from tests.servers import start_cluster

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
    state = Path(tempfile.mkdtemp(prefix="meridian-compat-"))
    state.chmod(0o711)
    guard = Guard()
    for folder in (state, haven_of(state)):
        guard.removes(folder)
    placement = place(state, os.environ)
    plan = make_plan(state, regions=1, port_base=free_port_base(regions=1), data=placement.data)
    document = deployment_document(plan, through_wan=False)
    (state / "deployment.json").write_text(json.dumps(document))
    load_or_make(state)
    deployment = load(state / "deployment.json")
    port = plan.region(REGION).postgres_port
    cluster = Cluster(plan.pgdata(REGION), port, placement.binaries, placement.account)
    prepare(cluster, deployment.password(ADMIN_ROLE))
    server = start_cluster(cluster, plan.logs)
    try:
        guard.ends(server.pid)
        wait_until_ready(deployment.dsn(REGION, "postgres", ADMIN_ROLE))
        made = Place(state, deployment, suite)
        for label in suite.generated:
            package = state / "generated" / f"compat_{label}"
            package.mkdir(parents=True)
            (package / "__init__.py").touch()
        if suite.generated:
            made.child("plain", "migrations")
        made.child("shared", "prepare")
        yield made
    finally:
        guard.close()
        server.wait(timeout=60)
        shutil.rmtree(state, ignore_errors=True)
