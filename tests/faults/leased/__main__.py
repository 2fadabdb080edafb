"""`python -m tests.faults.leased [--rounds N] [--seed N]`: leased cells under random faults.

A fleet of its own, a tenant in each of two leased cells, and one schedule of faults after the
other; then the same with the databases' fence off, which must be noticed. `--store etcd`: the
leases are in an etcd cluster, whose members fail, too. A round can be replayed by its seed. Exit
status 0: linearizable, one writer at a time, nothing lost; the control is not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import SystemRandom
from typing import Any

from infra.fleet.commands import inherited
from infra.fleet.state import REPOSITORY, saved_plan
from testkit.guard import Guard
from testkit.ports import free_port_base
from tests.etcd import running
from tests.faults.leased.control import play_control
from tests.faults.leased.ground import Ground, prepare
from tests.faults.leased.history import Verdict
from tests.faults.leased.rounds import play
from tests.faults.leased.schedule import faults

SECONDS = 8.0
ROUNDS = 100


def main() -> int:
    chosen = _arguments()
    first = chosen.seed if chosen.seed is not None else SystemRandom().randrange(10_000)
    bad = []
    with _ground(chosen.store, chosen.keep) as ground:
        for seed in range(first, first + chosen.rounds):
            verdict = _round(ground, seed, chosen.seconds)
            _say(str(verdict))
            if verdict.faults:
                bad.append(verdict)
        control = play_control(ground, tell=_nothing)
        _say(f"without the fence: {control}")
    told = "all linearizable, one writer at a time, nothing lost" if not bad else "FAULTS"
    _say(f"{chosen.rounds} rounds from seed {first}: {told}")
    for verdict in bad:
        _say(str(verdict))
    if not control.faults:
        _say("FAULT: nobody noticed that there was no fence")
    return 0 if control.faults and not bad else 1


def _round(ground: Ground, seed: int, seconds: float) -> Verdict:
    members = tuple(ground.etcd.members) if ground.etcd else ()
    schedule = faults(seed, seconds, ground.regions, members)
    for fault in schedule:
        _say(f"    {fault}")
    return play(ground, schedule, seed=seed, seconds=seconds, tell=_nothing)


@contextmanager
def _ground(store: str, keep: Path | None) -> Iterator[Ground]:
    """A fleet in a temporary folder, gone when the run ends in whatever way."""
    state = Path(tempfile.mkdtemp(prefix="meridian-leased-"))
    environment = {**inherited(), "MERIDIAN_DIR": str(state)}
    guard = Guard()

    def run(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def manage(*arguments: str) -> Any:
        return json.loads(run("manage.py", *arguments, "--json"))

    down = ("-m", "infra.fleet", "down", "--purge", "--dir", str(state))
    guard.removes(state)
    guard.runs([sys.executable, *down], cwd=REPOSITORY, env=environment)
    _say(f"starting a fleet with leases in {store}")
    try:
        with ExitStack() as stack:
            etcd = stack.enter_context(running(state / "etcd", guard)) if store == "etcd" else None
            words = [f"--etcd={url}" for url in etcd.urls] if etcd else []
            base = str(free_port_base())
            run("-m", "infra.fleet", "up", "--dir", str(state), "--port-base", base, *words)
            yield prepare(saved_plan(state), manage, etcd)
    finally:
        if keep is not None:
            (state / "logs").rename(keep)
        guard.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.leased",
        description="Breaks regions, links and processes while clients write leased cells.",
    )
    parser.add_argument("--seed", type=int, help="of the first round (of them, the others follow)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a round (%(default)s)")
    parser.add_argument(
        "--store", choices=("postgres", "etcd"), default="postgres", help="of leases (%(default)s)"
    )
    parser.add_argument("--keep", type=Path, help="a folder for the fleet's logs")
    return parser.parse_args()


def _nothing(what: str) -> None:
    """Rounds are told by their verdict."""


def _say(what: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {what}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
