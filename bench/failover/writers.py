"""How long nobody's write is acknowledged when a writer is lost, or moved as planned.

Four clients write to the cell through the edge without a pause; what counts is the longest time
between two acknowledgements, whatever the clients were told meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

from bench.failover.fleet import Fleet, fleet, wait_until
from bench.frame import Bench
from infra.fleet import faults
from infra.wan.conditions import Condition, LinkState
from regions.failover.probes import Probes
from regions.topology import CellSpec

RUNS = 20
LANES = 4
TTL_SECONDS = 3.0
WARM_SECONDS = 1.0
KEYS = (
    "failover.rto_s.kill",
    "failover.rto_s.freeze",
    "failover.rto_s.cut",
    "failover.rto_s.active_active",
    "failover.silent_loss",
    "failover.switchover_pause_ms",
)


def run(bench: Bench) -> None:
    with fleet(bench) as ground:
        lost: list[float] = []
        for how in ("kill", "freeze", "cut"):
            if bench.wants(f"failover.rto_s.{how}") or bench.wants("failover.silent_loss"):
                gaps = [_lose(ground, ground.leased, how, lost) for _ in range(bench.runs(RUNS))]
                _record(bench, how, gaps, TTL_SECONDS + 2, "lease of 3 s, its writer's region")
        if bench.wants("failover.rto_s.active_active"):
            gaps = [_lose(ground, ground.active, "kill", lost) for _ in range(bench.runs(RUNS))]
            _record(bench, "active_active", gaps, 1.0, "a region that clients write in is killed")
        if bench.wants("failover.silent_loss") and lost:
            bench.record(
                "failover.silent_loss",
                lost,
                unit="writes",
                target=0,
                better="lower",
                against="acknowledged writes that no region has once all are back, in each run",
            )
        if bench.wants("failover.switchover_pause_ms"):
            _switchovers(bench, ground)


def _record(bench: Bench, kind: str, gaps: Sequence[float], target: float, against: str) -> None:
    bench.record(
        f"failover.rto_s.{kind}", gaps, unit="s", target=target, better="lower", against=against
    )


def _lose(ground: Fleet, spec: CellSpec, how: str, lost: list[float]) -> float:
    """The longest time without an acknowledgement; the home writes before and after."""
    home, other = spec.regions
    with Probes(ground.deployment, spec, lanes=LANES) as probes:
        wait_until(lambda: probes.first_from(home) is not None, f"{home} writes")
        time.sleep(WARM_SECONDS)
        broken = time.monotonic()
        _break(ground, home, how)
        wait_until(lambda: probes.first_from(other, after=broken) is not None, f"{other} writes")
        time.sleep(WARM_SECONDS)
    gap = longest_gap([ack.at for ack in probes.acknowledged()], broken)
    ground.heal()
    if spec.policy.leased:
        ground.manage("region", "failback", spec.name)
    lost.append(0.0 if _is_all_there(probes, spec) else 1.0)
    return gap


def _break(ground: Fleet, region: str, how: str) -> None:
    if how != "cut":
        faults.break_region(ground.plan, region, how)
        return
    for peer in ground.deployment.regions:
        if peer != region:
            cut = Condition(LinkState.CUT)
            faults.break_link(ground.plan, region, peer, cut, one_way=False)


def longest_gap(acknowledged: Sequence[float], broken: float) -> float:
    """Between neighbours of which the later came after the fault."""
    times = sorted(acknowledged)
    return max(later - earlier for earlier, later in pairwise(times) if later > broken)


def _is_all_there(probes: Probes, spec: CellSpec) -> bool:
    """Whether each region has, sooner or later, what any has acknowledged."""
    try:
        wait_until(lambda: not any(map(probes.missing_in, spec.regions)), "all is there")
    except TimeoutError:
        return False
    return True


def _switchovers(bench: Bench, ground: Fleet) -> None:
    home, other = ground.leased.regions
    ground.manage("region", "failback", ground.leased.name)  # it was lost with its home, too
    pauses = []
    for number in range(bench.runs(RUNS)):
        target = home if number % 2 else other
        done = ground.manage("region", "switchover", ground.leased.name, "--to", target)
        pauses.append(float(done["pause_ms"]))
    bench.record(
        "failover.switchover_pause_ms",
        pauses,
        unit="ms",
        target=500,
        better="lower",
        against="between the last write of the old writer and the first of the new, at the edge",
    )
