"""The fabric beside native logical replication of the same rows between the same two servers, and
a writer with capture beside one without."""

from __future__ import annotations

import threading
import time
from itertools import count
from typing import Any

import psycopg

from bench.fabric.pair import PEER, WRITER, Side, start
from bench.frame import Bench, seconds_of

KEYS = (
    "fabric.apply_vs_native.single",
    "fabric.apply_vs_native.batch",
    "fabric.apply_vs_native.bulk",
    "fabric.capture_cost.bulk",
    "fabric.capture_cost.bulk_update",
    "fabric.capture_cost.single",
    "fabric.lag_ms.p50",
    "fabric.lag_ms.p99",
)
PAIRS = 5
RATE = 500  # transactions a second

ROW = (
    "'Ticket ' || n, repeat('Lorem ipsum dolor sit amet. ', 4), 'open', 'normal', mod(n, 500), 0,"
    " now(), now()"
)
COLUMNS = "title, body, status, priority, customer_id, votes, created_at, updated_at"
# Half of them insert a row, half change one that is there; each is a transaction.
STREAM = f"""
CREATE OR REPLACE PROCEDURE stream(transactions integer, rows integer, base bigint)
LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 0 .. transactions - 1 LOOP
        IF i % 2 = 0 OR rows > 1 THEN
            INSERT INTO ticket (id, {COLUMNS})
            SELECT base + i * rows + n, {ROW} FROM generate_series(1, rows) n;
        ELSE
            UPDATE ticket SET votes = votes + 1, status = 'pending', updated_at = now()
             WHERE id = base + i;
        END IF;
        COMMIT;
    END LOOP;
END $$
"""
_bases = count(1_000_000, 1_000_000)


def run(bench: Bench) -> None:
    with start() as (ours, native):
        for side in (ours, native):
            with side.connect(WRITER) as session:
                session.execute(STREAM)
        size = 20 if bench.quick else 1
        for variant, transactions, rows in (
            ("single", 20_000 // size, 1),
            ("batch", 1_000 // size, 100),
            ("bulk", 1, 100_000 // size),
        ):
            key = f"fabric.apply_vs_native.{variant}"
            if bench.wants(key):
                _apply_vs_native(bench, key, ours, native, transactions, rows)
        _capture_cost(bench, ours, native, 100_000 // size)
        if bench.wants("fabric.lag_ms"):
            _lag(bench, ours, 3 if bench.quick else 20)


def _apply_vs_native(
    bench: Bench, key: str, ours: Side, native: Side, transactions: int, rows: int
) -> None:
    def measure(side: Side) -> float:
        side.empty()
        base = next(_bases)
        with side.connect(PEER) as peer:
            with side.connect(WRITER) as writer, side.held():
                writer.execute("SET synchronous_commit = off")
                writer.execute("CALL stream(%s, %s, %s)", (transactions, rows, base))
                last = base + 900_000
                writer.execute(
                    f"INSERT INTO ticket (id, {COLUMNS}) SELECT {last}, {ROW}"
                    " FROM generate_series(1, 1) n"
                )
                time.sleep(0.3)
            return seconds_of(lambda: side.await_row(peer, last))

    pairs = bench.paired(PAIRS, lambda: measure(ours), lambda: measure(native))
    bench.record_ratio(
        key,
        [(theirs, mine) for mine, theirs in pairs],
        target=0.6,
        better="higher",
        against=f"native logical replication, {transactions} transactions of {rows} rows, from the"
        " first byte into the peer to the last row visible there; times of its speed",
    )


def _capture_cost(bench: Bench, ours: Side, native: Side, rows: int) -> None:
    insert = f"INSERT INTO ticket ({COLUMNS}) SELECT {ROW} FROM generate_series(1, %s) n"

    def bulk(side: Side) -> float:
        side.empty()
        with side.connect(WRITER) as writer:
            return seconds_of(lambda: writer.execute(insert, (rows,)))

    def bulk_update(side: Side) -> float:
        side.empty()
        with side.connect(WRITER) as writer:
            writer.execute(insert, (rows,))
            return seconds_of(lambda: writer.execute("UPDATE ticket SET votes = votes + 1"))

    def single(side: Side) -> float:
        side.empty()
        number = max(rows // 100, 50)
        with side.connect(WRITER) as writer:

            def write() -> None:
                for _ in range(number):
                    writer.execute(insert, (1,))

            return seconds_of(write)

    for variant, work, target, against in (
        ("bulk", bulk, 1.6, f"one INSERT of {rows} rows without capture"),
        ("bulk_update", bulk_update, None, f"one UPDATE of {rows} rows without capture"),
        ("single", single, 1.3, "single-row INSERTs, each durably committed, without capture"),
    ):
        key = f"fabric.capture_cost.{variant}"
        if bench.wants(key):
            pairs = bench.paired(
                PAIRS, lambda work=work: work(ours), lambda work=work: work(native)
            )
            bench.record_ratio(key, pairs, target=target, better="lower", against=against)


def _lag(bench: Bench, side: Side, seconds: int) -> None:
    """From the writer's commit to the row's first sight in the peer."""
    side.empty()
    base = next(_bases)
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
