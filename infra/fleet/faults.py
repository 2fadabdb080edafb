"""`fleet break`, `fleet heal` and `fleet restart`: what can go wrong, on purpose."""

from __future__ import annotations

import time
from collections.abc import Callable

from infra.errors import NotRunning, ServerFailed, UnknownTarget
from infra.fleet.control import Supervisor
from infra.fleet.plan import Plan
from infra.fleet.progress import Say
from infra.fleet.start import wait_for_postgres, wait_until
from infra.fleet.status import region_status
from infra.wan import conditions
from infra.wan.conditions import AGENTS, HEALTHY, Condition, Link, LinkState
from regions.deployment import load

FOLLOW_SECONDS = 60.0
# After a power cut PostgreSQL recovers first; then what needs it starts.
START_ORDER = ("postgres", "valkey", "agent", "web", "worker", "beat")


def running(plan: Plan) -> Supervisor:
    """The fleet's supervisor. Raises NotRunning."""
    supervisor = Supervisor(plan.state)
    if not supervisor.alive():
        raise NotRunning("The fleet is not running: start it with `make up`.")
    return supervisor


def break_region(plan: Plan, region: str, how: str) -> None:
    """Power a region off (`kill`), or stop it where it is (`freeze`)."""
    members = _members(running(plan), plan.region(region).name)
    running(plan).power("off" if how == "kill" else "freeze", members)


def break_process(plan: Plan, name: str, how: str) -> None:
    """Crash one process, which is then started again (`kill`), or stop it where it is."""
    supervisor = running(plan)
    _known(supervisor, name)
    supervisor.power("crash" if how == "kill" else "freeze", [name])


def restart(plan: Plan, name: str) -> None:
    """Stop and start one process in an orderly way."""
    supervisor = running(plan)
    _known(supervisor, name)
    supervisor.stop([name])
    supervisor.start([name])


def break_link(plan: Plan, a: str, b: str, condition: Condition, *, one_way: bool) -> None:
    """Put a condition on a→b, and on b→a unless `one_way`; it is in force when this returns."""
    _change(plan, _ways(plan, a, b, one_way=one_way), lambda _: condition)


def heal_link(plan: Plan, a: str, b: str) -> None:
    """Both directions as they were."""
    _change(plan, _ways(plan, a, b, one_way=False), lambda _: HEALTHY)


def break_store(plan: Plan) -> None:
    """No agent reaches any member of etcd: one that is reached would answer for the majority."""
    _change(plan, _ways_to_store(plan), lambda _: Condition(LinkState.CUT))


def heal_store(plan: Plan) -> None:
    """Every member is reached as before."""
    _change(plan, _ways_to_store(plan), lambda _: HEALTHY)


def heal_region(plan: Plan, region: str, say: Say) -> None:
    """Thaw what is frozen, start what is off, and wait until the region serves."""
    supervisor = running(plan)
    site = load(plan.state / "deployment.json").region(plan.region(region).name)
    members = _members(supervisor, region)
    supervisor.power("thaw", members)
    for kind in START_ORDER:
        supervisor.start([f"{region}:{kind}"])
        if kind == "postgres":
            say(f"{region}: PostgreSQL recovers")
            wait_for_postgres(plan, [region])
    deployment = load(plan.state / "deployment.json")

    def why_not() -> str | None:
        reason = region_status(deployment, site, supervisor.processes())["reason"]
        return f"{region}: {reason}" if reason else None

    wait_until(why_not, say)


def heal_process(plan: Plan, name: str) -> None:
    """Thaw or start one process."""
    supervisor = running(plan)
    _known(supervisor, name)
    supervisor.power("thaw", [name])
    supervisor.start([name])


def heal_all(plan: Plan, say: Say) -> None:
    """Every link, region and shared process as it was."""
    supervisor = running(plan)
    conditions.write(plan.state, {})
    shared = _members(supervisor, "shared")
    supervisor.power("thaw", shared)
    supervisor.start(shared)
    for region in plan.regions:
        supervisor.power("thaw", _members(supervisor, region.name))
        supervisor.start([f"{region.name}:postgres"])
    for region in plan.regions:
        heal_region(plan, region.name, say)


def _members(supervisor: Supervisor, group: str) -> list[str]:
    return [name for name in supervisor.processes() if name.startswith(f"{group}:")]


def _known(supervisor: Supervisor, name: str) -> None:
    processes = supervisor.processes()
    if name not in processes:
        known = ", ".join(sorted(processes))
        raise UnknownTarget(f"No process is called {name!r}. Processes: {known}.")


def _ways(plan: Plan, a: str, b: str, *, one_way: bool) -> list[Link]:
    source, target = plan.region(a).name, plan.region(b).name
    if source == target:
        raise UnknownTarget(f"A link joins two regions; {source} has none to itself.")
    return [(source, target)] if one_way else [(source, target), (target, source)]


def _ways_to_store(plan: Plan) -> list[Link]:
    if not plan.etcd:
        raise UnknownTarget("The regions' PostgreSQL grant the leases: cut links between regions.")
    if len(plan.store_links) < len(plan.etcd):
        raise UnknownTarget("The way to etcd's members with TLS is not the fleet's: stop them.")
    return [(AGENTS, link.name) for link in plan.store_links]


def _change(plan: Plan, ways: list[Link], new: Callable[[Link], Condition]) -> None:
    running(plan)
    now = conditions.read(plan.state)
    conditions.write(plan.state, {**now, **{way: new(way) for way in ways}})
    deadline = time.monotonic() + FOLLOW_SECONDS
    while not conditions.are_in_force(plan.state):
        if time.monotonic() > deadline:
            raise ServerFailed("The links' proxy does not follow: `fleet heal all` brings it back.")
        time.sleep(0.02)
