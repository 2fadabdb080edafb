"""`python -m infra.fleet VERB …`: the local fleet.

Exit status: 0 done · 1 failed, with one line on standard error · 2 bad usage. With `--json` one
document goes to standard output and nothing else.
"""

from __future__ import annotations

import os
import sys
import xmlrpc.client
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console

from infra.errors import FleetError, NotRunning, UnknownTarget
from infra.fleet import demo, faults
from infra.fleet.arguments import parser
from infra.fleet.plan import Plan
from infra.fleet.progress import Progress
from infra.fleet.report import show_next, show_status, show_tenants
from infra.fleet.secrets import load_or_make
from infra.fleet.start import start
from infra.fleet.state import (
    chosen_folder,
    make_folder,
    only_launcher,
    point_to,
    saved_plan,
    settle_plan,
)
from infra.fleet.status import status
from infra.fleet.stop import describe, purge, stop
from infra.postgres.binaries import find_postgres
from infra.postgres.placement import place
from infra.wan.conditions import Condition, LinkState
from regions.errors import RegionsError

Document = Mapping[str, Any]


def up(options: Namespace, console: Console, progress: Progress) -> Document:
    state = chosen_folder(options.dir, os.environ)
    # Refuses what makes no sense before anything is made.
    chosen = {"regions": options.regions, "port_base": options.port_base, "etcd": options.etcd}
    settle_plan(state, state, **chosen)
    find_postgres(os.environ)
    make_folder(state)
    with only_launcher(state):
        placement = place(state, os.environ)
        plan = settle_plan(state, placement.data, **chosen)
        started = start(plan, placement, progress)
        point_to(state, os.environ)
        made = options.tenants == "demo" and demo.onboard(plan, progress)
    if not (started or made):
        progress.say("The fleet is already running: nothing to do.")
    now, tenants = status(plan), demo.known(plan)
    password = load_or_make(state)["operator_password"]
    show_status(console, now)
    show_tenants(console, tenants)
    show_next(console, plan, now["edge"], password, tenants)
    login = {"user": "operator", "password": password}
    return {**now, "already_running": not (started or made), "login": login, "tenants": tenants}


def show(options: Namespace, console: Console, progress: Progress) -> Document:
    now = status(_plan(options))
    show_status(console, now)
    return now


def break_(options: Namespace, console: Console, progress: Progress) -> Document:
    plan = _plan(options)
    match options.target:
        case "region":
            faults.break_region(plan, options.region, options.how)
            done = f"{options.region} is {'off' if options.how == 'kill' else 'frozen'}"
        case "process":
            faults.break_process(plan, options.process, options.how)
            done = f"{options.process} was {'killed' if options.how == 'kill' else 'frozen'}"
        case "store":
            faults.break_store(plan)
            done = "No agent reaches etcd"
        case _:
            condition = _condition(options)
            faults.break_link(plan, options.a, options.b, condition, one_way=options.one_way)
            arrow = "→" if options.one_way else "↔"
            done = f"{options.a} {arrow} {options.b} is {condition.label.replace('_', ' ')}"
    return _told(progress, f"{done}. `python -m infra.fleet heal` undoes it.")


def heal(options: Namespace, console: Console, progress: Progress) -> Document:
    plan = _plan(options)
    match options.what:
        case [] | ["all"]:
            with progress.step("Healing everything") as say:
                faults.heal_all(plan, say)
        case ["region", region]:
            plan.region(region)
            with progress.step(f"Healing {region}") as say:
                faults.heal_region(plan, region, say)
        case ["process", process]:
            faults.heal_process(plan, process)
        case ["link", a, b]:
            faults.heal_link(plan, a, b)
        case ["store"]:
            faults.heal_store(plan)
        case _:
            raise UnknownTarget("heal what? all, region R, process P, link A B, or store.")
    return {"done": "healed"}


def restart(options: Namespace, console: Console, progress: Progress) -> Document:
    faults.restart(_plan(options), options.process)
    return _told(progress, f"{options.process} was restarted.")


def down(options: Namespace, console: Console, progress: Progress) -> Document:
    state = chosen_folder(options.dir, os.environ)
    try:
        plan = saved_plan(state)
    except NotRunning:
        return _told(progress, f"Nothing to stop: there is no fleet in {state}.")
    with only_launcher(state):
        was_running = stop(plan, progress)
        if options.purge:
            purge(plan)
    progress.say("The fleet has stopped." if was_running else "The fleet was not running.")
    return describe(plan, was_running=was_running, purged=options.purge)


def logs(options: Namespace, console: Console, progress: Progress) -> Document:
    plan = _plan(options)
    name = options.process.replace(":", "-") if options.process else "*"
    files = sorted(plan.logs.glob(f"{name}.log"))
    if not files:
        raise UnknownTarget(f"No log is called {name}.log in {plan.logs}.")
    tails: dict[str, list[str]] = {}
    for file in files:
        with file.open(errors="replace") as lines:
            tails[file.stem] = [line.rstrip("\n") for line in deque(lines, options.lines)]
        console.rule(str(file), align="left")
        console.print("\n".join(tails[file.stem]), markup=False, highlight=False, soft_wrap=True)
    return tails


VERBS: Mapping[str, Callable[[Namespace, Console, Progress], Document]] = {
    "up": up,
    "status": show,
    "break": break_,
    "heal": heal,
    "restart": restart,
    "down": down,
    "logs": logs,
}


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    console = Console(quiet=options.json, highlight=False)
    progress = Progress()
    try:
        document = VERBS[options.verb](options, console, progress)
    except (FleetError, RegionsError, OSError, xmlrpc.client.Error) as error:
        progress.say(f"[red]Error:[/red] {' '.join(str(error).split())}")
        return error.exit_status if isinstance(error, FleetError) else 1
    except KeyboardInterrupt:
        progress.say("Interrupted: `up` again goes on, `down` ends what was started.")
        return 130
    if options.json:
        Console(soft_wrap=True).print_json(data=document)
    return 0


def _plan(options: Namespace) -> Plan:
    return saved_plan(chosen_folder(options.dir, os.environ))


def _condition(options: Namespace) -> Condition:
    delayed = options.latency is not None or options.jitter or options.bandwidth
    state = {"cut": LinkState.CUT, "black-hole": LinkState.BLACK_HOLE}.get(
        options.how, LinkState.UP if delayed else LinkState.CUT
    )
    if state is LinkState.CUT and options.one_way:
        # TCP can't be refused in one direction only: what goes that way just never arrives.
        state = LinkState.BLACK_HOLE
    return Condition(state, options.latency or 0.0, options.jitter, options.bandwidth)


def _told(progress: Progress, what: str) -> Document:
    progress.say(what)
    return {"done": what}


if __name__ == "__main__":
    sys.exit(main())
