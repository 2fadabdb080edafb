"""How long it takes until a region writes none of 50 cells any more, on purpose and without a loss.

The cells are shared ones in two regions, each with its own databases, its own replication and its
own lease. Measured is the whole command, as an operator waits for it.
"""

from __future__ import annotations

from bench.failover.fleet import Fleet, fleet, wait_until
from bench.frame import Bench, seconds_of

KEYS = ("failover.evacuate_50_cells_s",)

CELLS = 50
RUNS = 20
HOME, OTHER = "eu-west", "eu-central"


def run(bench: Bench) -> None:
    with fleet(bench) as ground:
        names = [f"bench-{number:02}" for number in range(4 if bench.quick else CELLS)]
        for number, name in enumerate(names, 1):
            _make(ground, name)
            if number % 10 == 0:
                bench.say(f"{number} cells")
        _bring_home(ground, names)
        taken = [_evacuate(bench, ground, names) for _ in range(bench.runs(RUNS))]
    bench.record(
        "failover.evacuate_50_cells_s",
        taken,
        unit="s",
        target=15,
        better="lower",
        against="region evacuate: the command, from its start until no cell is written there",
    )


def _make(ground: Fleet, name: str) -> None:
    where = ("--regions", f"{HOME},{OTHER}", "--policy", "active_passive")
    ground.manage("cell", "create", name, "--mode", "shared", *where)


def _evacuate(bench: Bench, ground: Fleet, names: list[str]) -> float:
    seconds = seconds_of(lambda: ground.manage("region", "evacuate", HOME))
    bench.say(f"evacuated in {seconds:.1f} s")
    if _writers(ground, names) != {OTHER}:
        raise RuntimeError(f"{HOME} was not evacuated")
    _bring_home(ground, names)
    return seconds


def _bring_home(ground: Fleet, names: list[str]) -> None:
    """Another region may have taken some before they were wanted there, on a busy machine."""

    def at_home() -> bool:
        ground.manage("region", "failback", "--region", HOME)
        return _writers(ground, names) == {HOME}

    wait_until(at_home, f"{HOME} writes every cell")


def _writers(ground: Fleet, names: list[str]) -> set[str | None]:
    cells = ground.manage("cell", "list")
    return {cell["writer"] for cell in cells if cell["name"] in names}
