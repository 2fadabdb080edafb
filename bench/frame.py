"""What a benchmark module gets, and what it must give.

A module `bench/<area>/<name>.py` declares `KEYS`, the keys that it measures, and `run(bench)`,
which calls `bench.record(…)` once for each of them that `bench.wants(key)`. What it starts it
ends, best with `bench.closing`: that also covers a run that breaks.

    KEYS = ("tenancy.example_ms",)

    def run(bench: Bench) -> None:
        tenants = bench.region.tenants("shared", 1000)        # real ones, made once a run
        pairs = bench.paired(15, measure_ours, measure_theirs)  # alternating, in this order
        bench.record_ratio("tenancy.example", pairs, target=1.3, better="lower", against="…")

Everything is measured side by side, now, on this machine: quote ratios, not times. With
`--quick` (`bench.quick`) the numbers show only that the measurement works.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bench.peers.environment import Peers
    from bench.region import BenchRegion

Better = Literal["higher", "lower"]
Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Result:
    """One key's line in `bench/results.json`; `spread` is the smallest and the largest run."""

    value: float
    unit: str
    target: float | None
    better: Better
    runs: int
    spread: tuple[float, float]
    against: str

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.better == "higher" else self.value <= self.target

    def document(self) -> dict[str, object]:
        return asdict(self)


class Bench:
    """One run. `quick`: as few repetitions as show that it works."""

    def __init__(self, *, only: str = "", quick: bool = False) -> None:
        self.only = only
        self.quick = quick
        self.closing = ExitStack()
        self.results: dict[str, Result] = {}

    def wants(self, key: str) -> bool:
        """Whether this run is to measure `key`."""
        return key.startswith(self.only)

    @cached_property
    def region(self) -> BenchRegion:
        """A deployment of one region: a real PostgreSQL, a control cell, no fleet around them.
        Django is set up for it, as an operator's command is."""
        from bench.region import start

        return self.closing.enter_context(start(self))

    @cached_property
    def peers(self) -> Peers:
        """Plain Django and django-tenants, in an environment of their own under `.bench/`."""
        from bench.peers.environment import install

        return install(self)

    def runs(self, number: int) -> int:
        """How often to repeat what would ordinarily be repeated `number` times."""
        return min(number, 2) if self.quick else number

    def paired(
        self, runs: int, ours: Callable[[], float], theirs: Callable[[], float]
    ) -> list[Pair]:
        """`runs` measurements of both, in turn and in changing order, after one to warm up."""
        ours(), theirs()
        pairs = []
        for number in range(self.runs(runs)):
            if number % 2:
                second = theirs()
                pairs.append((ours(), second))
            else:
                first = ours()
                pairs.append((first, theirs()))
        return pairs

    def record(
        self,
        key: str,
        values: Sequence[float],
        *,
        unit: str,
        target: float | None,
        better: Better,
        against: str,
    ) -> None:
        """The median of `values` is the key's value."""
        self.results[key] = result = Result(
            value=_rounded(statistics.median(values)),
            unit=unit,
            target=target,
            better=better,
            runs=len(values),
            spread=(_rounded(min(values)), _rounded(max(values))),
            against=against,
        )
        self.say(f"{key} = {result.value:g} {unit} (target {target}, spread {result.spread})")

    def record_ratio(
        self,
        key: str,
        pairs: Sequence[Pair],
        *,
        target: float | None,
        better: Better,
        against: str,
    ) -> None:
        """The median of each pair's ratio, ours to theirs."""
        ratios = [ours / theirs for ours, theirs in pairs]
        self.record(key, ratios, unit="ratio", target=target, better=better, against=against)

    def say(self, text: str) -> None:
        print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def seconds_of(work: Callable[[], object]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
