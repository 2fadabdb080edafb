"""What processor time it takes to catch up, of all processes that are at work for a side: what else
the machine does changes it little. And how many cores were busy with it meanwhile: what a further
applier could gain is bounded by those that were not."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg

from bench.fabric.pair import PAIRS, Side, start
from bench.fabric.stream import variants
from bench.frame import Bench

KEYS = ("fabric.apply_cpu_vs_native.single", "fabric.apply_cores.single")

_AT_WORK = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def run(bench: Bench) -> None:
    if not any(map(bench.wants, KEYS)):
        return
    cores: list[float] = []
    ((_, transactions, rows),) = [
        each for each in variants(quick=bench.quick) if each[0] == "single"
    ]

    def busy(side: Side) -> float:
        elapsed, used = _caught_up(side, transactions, rows)
        if side.helpers:
            cores.append(used / elapsed)
        return used

    with start() as (ours, native):
        pairs = bench.paired(PAIRS, lambda: busy(ours), lambda: busy(native))
    what = f"{transactions} transactions of {rows} row, sender, worker, applier and all"
    if bench.wants(KEYS[0]):
        bench.record_ratio(
            KEYS[0], pairs, target=None, better="lower", against=f"native replication of {what}"
        )
    if bench.wants(KEYS[1]):
        bench.record(
            KEYS[1],
            cores[1:],
            unit="cores",
            target=None,
            better="higher",
            against=f"{os.cpu_count()} cores of the machine; {what}",
        )


def _caught_up(side: Side, transactions: int, rows: int) -> tuple[float, float]:
    """(seconds, processor seconds)"""
    begun: dict[int, float] = {}
    elapsed = side.seconds_to_catch_up(transactions, rows, lambda: begun.update(_used(side)))
    return elapsed, sum(spent - begun.get(pid, 0.0) for pid, spent in _used(side).items())


def _used(side: Side) -> dict[int, float]:
    """Processor seconds so far, by process."""
    pids = [*side.helpers]
    for dsn in side.administrators.values():
        with psycopg.connect(dsn) as session:
            pids += [pid for (pid,) in session.execute(_AT_WORK)]
    return {pid: _seconds(pid) for pid in pids}


def _seconds(pid: int) -> float:
    """One that has ended has none: it was no part of the work."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return 0.0
