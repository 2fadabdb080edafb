"""`python -m tests.faults [--seed N] [--seconds S] [--workload NAME …]`: the long fault suite.

Everything that clients do and everything that goes wrong follows from the seed: the same seed, the
same operations and faults. How they meet is the machine's affair. Exit status 0: the fabric lost
nothing and the negative controls did.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from random import SystemRandom
from typing import Any

from tests.faults.report import Line, table
from tests.faults.scenarios import CONTROL, SCENARIOS, SHORT, Scenario, scenario_of
from tests.faults.workloads import WORKLOADS

REPOSITORY = Path(__file__).parents[2]
SECONDS = 30.0


def main() -> int:
    chosen = _arguments()
    seed = chosen.seed if chosen.seed is not None else SystemRandom().randrange(10_000)
    scenarios = [scenario_of(name) for name in chosen.workload or SCENARIOS]
    if chosen.short:
        scenarios = [SHORT, CONTROL]
    _say(f"seed {seed}, {chosen.seconds:.0f} s each: {', '.join(s.name for s in scenarios)}")
    lines = list(_lines(scenarios, seed, chosen))
    if chosen.json:
        sys.stdout.write(json.dumps([line.document() for line in lines], indent=1) + "\n")
    else:
        sys.stdout.write(f"\n{table(lines)}\n")
    return 0 if all(line.good for line in lines) else 1


def _lines(scenarios: Sequence[Scenario], seed: int, chosen: argparse.Namespace) -> Iterator[Line]:
    with _world(control_cell=any(not scenario.control for scenario in scenarios)) as world:
        for number, scenario in enumerate(scenarios):
            yield _run(world, scenario, number, seed, chosen)


@contextmanager
def _world(*, control_cell: bool) -> Iterator[Any]:
    """Three regions with a control cell. Django's settings start nothing by themselves."""
    sys.path.insert(1, str(REPOSITORY / "platform"))
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.faults.settings"
    import django

    django.setup()
    from testkit.control import prepare_control
    from tests.faults.settings import GROUNDS
    from tests.faults.world import World

    _say("starting three regions")
    with World(GROUNDS).running() as world:
        if control_cell:
            prepare_control(world.deployment)
        yield world


def _run(
    world: Any, scenario: Scenario, number: int, seed: int, chosen: argparse.Namespace
) -> Line:
    from tests.faults.arena import Arena
    from tests.faults.controls import Control
    from tests.faults.run import run
    from tests.faults.schedule import faults

    _say(f"{scenario.name}: making its place")
    workloads = [WORKLOADS[name] for name in scenario.workloads]
    seeds = [statement for workload in workloads for statement in workload.seed]
    seconds = chosen.seconds if not scenario.control else min(chosen.seconds, scenario.seconds)
    schedule = faults(
        seed, seconds, world.regions, scenario.kinds, scenario.pause, scenario.lasting
    )
    ground: Any = (
        Control(world, seeds, row_lww=scenario.control == "row_lww")
        if scenario.control
        else Arena(world, f"arena-{number}", seeds, over=scenario.over)
    )
    with closing(_Ends(ground)):
        for fault in schedule:
            _say(f"  {fault}")
        result = run(ground, workloads, schedule, seed=seed, seconds=seconds, rate=scenario.rate)
        for note in result.notes:
            _say(f"  not done: {note}")
        line = Line(
            scenario.name, seed, result.verdict, result.heal_seconds, bool(scenario.control)
        )
        _say(table([line]))
        return line


class _Ends:
    """`closing` for what has an `end`."""

    def __init__(self, ground: Any) -> None:
        self.close = ground.end


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description="Breaks three regions while clients write, and looks for what was lost.",
    )
    parser.add_argument("--seed", type=int, help="replays a run's operations and faults")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each run (%(default)s)")
    parser.add_argument(
        "--workload",
        action="append",
        choices=[*SCENARIOS, *WORKLOADS],
        metavar="NAME",
        help=f"only this one (may be repeated). Together: {', '.join(SCENARIOS)}. "
        f"By themselves: {', '.join(WORKLOADS)}",
    )
    parser.add_argument("--short", action="store_true", help="the part that `make test` runs")
    parser.add_argument("--json", action="store_true", help="one document on standard output")
    return parser.parse_args()


def _say(what: str) -> None:
    """Progress, for people."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {what}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
