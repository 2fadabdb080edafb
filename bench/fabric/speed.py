"""The fabric beside native logical replication of the same rows between the same two servers, and
a writer with capture beside one without."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg

from bench.fabric.pair import PAIRS, PEER, WRITER, Side, catch_up_ratio, start
from bench.fabric.stream import COLUMNS, ROW, new_ids, variants
from bench.frame import Bench, seconds_of

KEYS = (
    "fabric.apply_vs_native.single",
    "fabric.apply_vs_native.batch",
    "fabric.apply_vs_native.bulk",
    "fabric.capture_cost.bulk",
    "fabric.capture_cost.bulk_update",
    "fabric.capture_cost.single",
    "fabric.capture_cost_beside_peer.bulk",
    "fabric.capture_cost_beside_peer.bulk_update",
    "fabric.capture_cost_beside_peer.single",
    "fabric.lag_ms.p50",
    "fabric.lag_ms.p99",
)
Connection = psycopg.Connection[Any]

RATE = 500  # transactions a second


def run(bench: Bench) -> None:
    with start() as (ours, native):
        for variant, transactions, rows in variants(quick=bench.quick):
            key = f"fabric.apply_vs_native.{variant}"
            if bench.wants(key):
                catch_up_ratio(
                    bench,
                    key,
                    ours,
                    native,
                    transactions,
                    rows,
                    target=0.6,
                    against=f"native logical replication, {transactions} transactions of {rows}"
                    " rows, from the first byte into the peer to the last row visible there; times"
                    " of its speed",
                )
        _capture_cost(bench, ours, native, 5_000 if bench.quick else 100_000)
        if bench.wants("fabric.lag_ms"):
            _lag(bench, ours, 3 if bench.quick else 20)


def _capture_cost(bench: Bench, ours: Side, native: Side, rows: int) -> None:
    insert = f"INSERT INTO ticket ({COLUMNS}) SELECT {ROW} FROM generate_series(1, %s) n"

    def bulk(writer: Connection) -> float:
        return seconds_of(lambda: writer.execute(insert, (rows,)))

    def bulk_update(writer: Connection) -> float:
        writer.execute(insert, (rows,))
        return seconds_of(lambda: writer.execute("UPDATE ticket SET votes = votes + 1"))

    def single(writer: Connection) -> float:
        def write() -> None:
            for _ in range(max(rows // 100, 50)):
                writer.execute(insert, (1,))

        return seconds_of(write)

    def alone(side: Side, work: Callable[[Connection], float]) -> float:
        side.empty()
        with side.unlinked(), side.connect(WRITER) as writer:
            return work(writer)

    def beside_the_peer(side: Side, work: Callable[[Connection], float]) -> float:
        side.empty()
        with side.connect(WRITER) as writer:
            return work(writer)

    for variant, work, target, against in (
        ("bulk", bulk, 1.6, f"one INSERT of {rows} rows without capture"),
        ("bulk_update", bulk_update, None, f"one UPDATE of {rows} rows without capture"),
        ("single", single, 1.3, "single-row INSERTs, each durably committed, without capture"),
    ):
        for measure, key, aim, where in (
            (alone, f"fabric.capture_cost.{variant}", target, "; no peer reads meanwhile"),
            (
                beside_the_peer,
                f"fabric.capture_cost_beside_peer.{variant}",
                None,
                "; both sides' peers apply meanwhile, on the same cores",
            ),
        ):
            if bench.wants(key):
                pairs = bench.paired(
                    PAIRS,
                    lambda m=measure, w=work: m(ours, w),
                    lambda m=measure, w=work: m(native, w),
                )
                bench.record_ratio(key, pairs, target=aim, better="lower", against=against + where)


def _lag(bench: Bench, side: Side, seconds: int) -> None:
    """From the writer's commit to the row's first sight in the peer."""
    side.empty()
    base = new_ids()
    number = seconds * RATE
    written: dict[int, float] = {}
    seen: dict[int, float] = {}

    def look(peer: psycopg.Connection[Any]) -> None:
        last = base
        deadline = time.monotonic() + seconds + 30
        while len(seen) < number and time.monotonic() < deadline:
            rows = peer.execute("SELECT id FROM ticket WHERE id > %s", (last,)).fetchall()
            now = time.perf_counter()
            for (found,) in rows:
                seen[found] = now
                last = max(last, found)
            time.sleep(0.001)

    with side.connect(PEER) as peer, side.connect(WRITER) as writer:
        watcher = threading.Thread(target=look, args=(peer,))
        watcher.start()
        statement = (
            f"INSERT INTO ticket (id, {COLUMNS}) SELECT %s, {ROW} FROM generate_series(1, 1) n"
        )
        started = time.perf_counter()
        for n in range(1, number + 1):
            writer.execute(statement, (base + n,))
            written[base + n] = time.perf_counter()
            time.sleep(max(0.0, started + n / RATE - time.perf_counter()))
        watcher.join()
    lags = sorted((seen[n] - written[n]) * 1000 for n in written)
    for name, share, target in (("p50", 0.5, 20), ("p99", 0.99, 100)):
        bench.record(
            f"fabric.lag_ms.{name}",
            [lags[int(len(lags) * share)]],
            unit="ms",
            target=target,
            better="lower",
            against=f"{number} transactions at {RATE} a second, loopback",
        )
