"""`fleet up`: from nothing, or from whatever is left, to a fleet that serves.

Every step does only what isn't done yet, so repeating it is safe: a fleet that runs is left
alone, what is stopped or frozen is started, what a crash left behind is ended first.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from infra.envoy.files import EdgeFiles
from infra.errors import FleetError, ServerFailed
from infra.fleet import leftovers
from infra.fleet.commands import inherited, manage
from infra.fleet.control import Supervisor, socket_path
from infra.fleet.plan import Plan, deployment_document
from infra.fleet.ports import check_free
from infra.fleet.processes import MARK, ProcessPlan, Stage, processes
from infra.fleet.progress import Progress, Say
from infra.fleet.secrets import load_or_make
from infra.fleet.state import REPOSITORY, save, write_json
from infra.fleet.status import answers, status
from infra.fleet.supervisord import render
from infra.fleet.tools import find_tools
from infra.postgres.cluster import Cluster, prepare, wait_until_ready
from infra.postgres.placement import Placement
from infra.wan import conditions
from regions.deployment import ADMIN_ROLE, load

HEALTHY_SECONDS = 120.0
MEGABYTES_PER_REGION = 200
READY = "ready"


def start(plan: Plan, placement: Placement, progress: Progress) -> bool:
    """Bring the fleet up; False when it was up already. Raises FleetError."""
    supervisor = Supervisor(plan.state)
    planned = processes(plan, find_tools(placement))
    fresh = not supervisor.alive()
    if fresh:
        _prepare(plan, placement, planned, progress)
        supervisor.launch({**inherited(), MARK: str(plan.state), "PYTHONPATH": str(REPOSITORY)})
    elif (plan.state / READY).exists() and _all_run(supervisor):
        return False
    frozen = [name for name, now in supervisor.processes().items() if now.frozen]
    supervisor.power("thaw", frozen)

    with progress.step("PostgreSQL, Valkey and the WAN in every region"):
        supervisor.start(_ids(planned, Stage.STORAGE))
        wait_for_postgres(plan)
    first = not (plan.state / READY).exists()
    bootstrap = fresh or first
    if bootstrap:
        with progress.step("Databases, migrations and replication of the control cell") as say:
            manage(plan, "bootstrap", "databases", say=say)
    supervisor.start(_ids(planned, Stage.AGENTS))
    if bootstrap:
        with progress.step("Agents, leases and the registry") as say:
            manage(plan, "bootstrap", "records", say=say)
    if bootstrap and not first:
        with progress.step("Cells that may be of an earlier version") as say:
            manage(plan, "cell", "secure", "--all", say=say)
    with progress.step("Web, workers and the edge") as say:
        EdgeFiles(
            plan.envoy, load(plan.state / "deployment.json"), plan.edge_admin_port
        ).write_all()
        supervisor.start(_ids(planned, Stage.SERVING))
        wait_until(lambda: not_serving(plan), say)
    (plan.state / READY).touch()
    return True


def wait_for_postgres(plan: Plan, regions: Iterable[str] | None = None) -> None:
    """Return once the clusters of these regions (default: all) answer."""
    deployment = load(plan.state / "deployment.json")
    for name in regions or deployment.regions:
        try:
            wait_until_ready(deployment.dsn(name, "postgres", ADMIN_ROLE))
        except ServerFailed as failure:
            log = plan.logs / f"{name}-postgres.log"
            raise ServerFailed(f"{name}: {failure}; last line of {log}: {_last(log)}") from failure


def wait_until(why_not: Callable[[], str | None], say: Say) -> None:
    """Return once `why_not` has no reason any more; raise ServerFailed with its last one."""
    deadline = time.monotonic() + HEALTHY_SECONDS
    while (reason := why_not()) is not None:
        say(reason)
        if time.monotonic() > deadline:
            raise ServerFailed(f"The fleet is not ready after {HEALTHY_SECONDS:.0f} s: {reason}")
        time.sleep(0.2)


def not_serving(plan: Plan) -> str | None:
    """The first reason why not everything serves; None when everything does."""
    now = status(plan)
    for region in now["regions"]:
        if not region["up"]:
            return f"{region['name']}: {region['reason']}"
    for name, state in now["shared"].items():
        if state != "running":
            return f"{name} is {state}"
    return answers(f"{now['edge']}/healthz/ready")


def _prepare(
    plan: Plan, placement: Placement, planned: Iterable[ProcessPlan], progress: Progress
) -> None:
    """Everything on disk, and nothing of an earlier fleet in memory."""
    left = leftovers.leftovers(plan.state, plan.data_folders())
    if left:
        with progress.step(f"Ending {len(left)} processes that an earlier fleet left"):
            leftovers.end(left)
    check_free(plan)
    _check_room(plan)
    save(plan)
    secrets = load_or_make(plan.state)
    write_json(plan.state / "deployment.json", deployment_document(plan))
    conditions.write(plan.state, {})
    for region in plan.regions:
        plan.valkey_dir(region.name).mkdir(parents=True, exist_ok=True)
        plan.map_dir(region.name).mkdir(parents=True, exist_ok=True)
    clusters = [
        Cluster(
            plan.pgdata(region.name), region.postgres_port, placement.binaries, placement.account
        )
        for region in plan.regions
    ]
    with (
        progress.step(f"PostgreSQL {placement.binaries.version} clusters"),
        ThreadPoolExecutor() as pool,
    ):
        password = secrets["passwords"][ADMIN_ROLE]
        list(pool.map(lambda cluster: prepare(cluster, password), clusters))
    configuration = render(plan.state, socket_path(plan.state), planned, as_root=os.geteuid() == 0)
    (plan.state / "supervisord.conf").write_text(configuration)


def _check_room(plan: Plan) -> None:
    plan.data.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(plan.data).free // 1_000_000
    wanted = MEGABYTES_PER_REGION * len(plan.regions)
    if free < wanted:
        raise FleetError(
            f"{plan.data} has {free} MB left and the fleet needs about {wanted} MB: "
            "make room, or choose another --dir."
        )


def _all_run(supervisor: Supervisor) -> bool:
    return all(process.running for process in supervisor.processes().values())


def _ids(planned: Iterable[ProcessPlan], stage: Stage) -> list[str]:
    return [process.id for process in planned if process.stage is stage]


def _last(log: os.PathLike[str]) -> str:
    try:
        with open(log) as file:
            lines = file.read().strip().splitlines()
    except OSError:
        return "none"
    return lines[-1] if lines else "none"
