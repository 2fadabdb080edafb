"""The processes of a fleet: what runs, in which group, with which environment. Pure.

Groups are the regions, and `shared` for what serves all of them. Processes start by stage:
STORAGE, then (once the databases are made) AGENTS, then SERVING.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from infra.fleet.plan import HOST, Plan, RegionPlan

SHARED = "shared"
# Every process of a fleet carries this, so that it is found again after a crash.
MARK = "MERIDIAN_FLEET"


class Stage(StrEnum):
    STORAGE = "storage"
    AGENTS = "agents"
    SERVING = "serving"


@dataclass(frozen=True, slots=True)
class Tools:
    """Where the programs are. `postgres_user`: the account PostgreSQL needs, if any."""

    repository: Path
    python: Path
    postgres: Path
    valkey: Path
    envoy: Path
    postgres_user: str | None = None


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """One process. `stop_signal` ends it without loss."""

    group: str
    name: str
    stage: Stage
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    stop_signal: str = "TERM"
    user: str | None = None
    folder: Path = Path("/")

    @property
    def id(self) -> str:
        return f"{self.group}:{self.name}"


def environment(plan: Plan, repository: Path, region: str | None = None) -> dict[str, str]:
    """What a process of the fleet finds in its environment; no region: an operator's command."""
    shared = {
        "MERIDIAN_DIR": str(plan.state),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PYTHONPATH": f"{repository}:{repository / 'platform'}",
        "PYTHONUNBUFFERED": "1",
    }
    return shared if region is None else {**shared, "MERIDIAN_REGION": region}


def processes(plan: Plan, tools: Tools) -> tuple[ProcessPlan, ...]:
    """Every process of the fleet, in the order of the groups."""
    own = [process for region in plan.regions for process in _of_region(plan, tools, region)]
    return (*_of_all(plan, tools), *own)


def _of_all(plan: Plan, tools: Tools) -> tuple[ProcessPlan, ...]:
    def process(name: str, stage: Stage, *command: object) -> ProcessPlan:
        return ProcessPlan(
            group=SHARED,
            name=name,
            stage=stage,
            command=tuple(map(str, command)),
            environment={**environment(plan, tools.repository), MARK: str(plan.state)},
            log=plan.logs / f"{SHARED}-{name}.log",
            folder=tools.repository,
        )

    bootstrap = plan.envoy / "bootstrap.json"
    return (
        process("wan", Stage.STORAGE, tools.python, "-m", "infra.wan", plan.state),
        process(
            "router",
            Stage.SERVING,
            *(tools.python, "-m", "infra.envoy", plan.state, plan.edge_admin_port),
        ),
        process(
            "envoy",
            Stage.SERVING,
            *(tools.envoy, "-c", bootstrap, "--concurrency", 1),
            *("--disable-hot-restart", "-l", "warning"),
        ),
    )


def _of_region(plan: Plan, tools: Tools, region: RegionPlan) -> tuple[ProcessPlan, ...]:
    name = region.name

    def process(
        kind: str,
        stage: Stage,
        *command: object,
        stop_signal: str = "TERM",
        user: str | None = None,
        folder: Path = tools.repository,
    ) -> ProcessPlan:
        return ProcessPlan(
            group=name,
            name=kind,
            stage=stage,
            command=tuple(map(str, command)),
            environment={**environment(plan, tools.repository, name), MARK: str(plan.state)},
            log=plan.logs / f"{name}-{kind}.log",
            stop_signal=stop_signal,
            user=user,
            folder=folder,
        )

    home = plan.state / "regions" / name
    return (
        process(
            "postgres",
            Stage.STORAGE,
            *(tools.postgres, "-D", plan.pgdata(name)),
            stop_signal="INT",
            user=tools.postgres_user,
            folder=Path("/"),
        ),
        process(
            "valkey",
            Stage.STORAGE,
            *(tools.valkey, "--bind", HOST, "--port", region.valkey_port, "--dir"),
            *(plan.valkey_dir(name), "--appendonly", "yes", "--daemonize", "no"),
        ),
        process(
            "agent",
            Stage.AGENTS,
            *(tools.python, "-m", "regions.failover", "--region", name),
            *("--deployment", plan.state / "deployment.json"),
        ),
        process(
            "web",
            Stage.SERVING,
            *(tools.python, "-m", "granian", "--interface", "wsgi", "--no-ws", "--http", 1),
            *("--host", HOST, "--port", region.web_port, "--workers", 1),
            *("--blocking-threads", 8, "--respawn-failed-workers", "config.wsgi:application"),
        ),
        process(
            "worker",
            Stage.SERVING,
            *(tools.python, "-m", "celery", "-A", "config", "worker", "-Q", name),
            *("--hostname", f"worker@{name}", "--pool", "threads", "--concurrency", 2),
            *("--without-gossip", "--without-mingle", "--loglevel", "INFO"),
        ),
        process(
            "beat",
            Stage.SERVING,
            *(tools.python, "-m", "celery", "-A", "config", "beat", "--pidfile="),
            *("--schedule", home / "beat", "--loglevel", "WARNING"),
        ),
    )
