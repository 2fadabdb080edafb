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
    "fabric.capture_floor.bulk",
    "fabric.capture_floor.bulk_stamped",
    "fabric.capture_floor.single",
    "fabric.lag_ms.p50",
    "fabric.lag_ms.p99",
)
Connection = psycopg.Connection[Any]

RATE = 500  # transactions a second

# The least that a trigger can do to keep a statement's rows: it writes their text once. Nobody asks
# whether this may be written, and no entry says whose rows it has, or of what. Of the two tables
# one has what is stored of a row's writing, in the cheapest way.
LEAST = """
SELECT set_config('fabric.stamp', '55000000000000000', false);
CREATE TABLE IF NOT EXISTS least (LIKE ticket INCLUDING ALL);
CREATE TABLE IF NOT EXISTS stamped (LIKE ticket INCLUDING ALL,
    _born bigint NOT NULL DEFAULT current_setting('fabric.stamp')::bigint,
    _stamp bigint NOT NULL DEFAULT current_setting('fabric.stamp')::bigint,
    _fields jsonb, _base jsonb);
CREATE TABLE IF NOT EXISTS kept (rows text[]);
ALTER TABLE kept ALTER rows SET STORAGE EXTERNAL;
CREATE OR REPLACE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kept SELECT array_agg(row::text) FROM fresh AS row;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER keep AFTER INSERT ON least REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION keep();
CREATE OR REPLACE TRIGGER keep AFTER INSERT ON stamped REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION keep();
TRUNCATE least, stamped, kept
"""


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
        many = 5_000 if bench.quick else 100_000
        _capture_cost(bench, ours, native, many)
        _capture_floor(bench, native, many)
        if bench.wants("fabric.lag_ms"):
            _lag(bench, ours, 3 if bench.quick else 20)


def _capture_cost(bench: Bench, ours: Side, native: Side, rows: int) -> None:
    def bulk(writer: Connection) -> float:
        return _bulk(writer, rows)

    def bulk_update(writer: Connection) -> float:
        _bulk(writer, rows)
        return seconds_of(lambda: writer.execute("UPDATE ticket SET votes = votes + 1"))

    def single(writer: Connection) -> float:
        return _single(writer, rows)

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


def _capture_floor(bench: Bench, native: Side, rows: int) -> None:
    """Both on the side that has nothing of the fabric, while nobody reads from it."""

    def alone(work: Callable[[Connection, int, str], float], table: str) -> float:
        native.empty()
        with native.unlinked(), native.connect(WRITER) as writer:
            writer.execute(LEAST)
            return work(writer, rows, table)

    many, one = f"one INSERT of {rows} rows", "single-row INSERTs, each durably committed,"
    for variant, table, work, what in (
        ("bulk", "least", _bulk, many),
        ("bulk_stamped", "stamped", _bulk, many),
        ("single", "least", _single, one),
    ):
        key = f"fabric.capture_floor.{variant}"
        if bench.wants(key):
            pairs = bench.paired(
                PAIRS, lambda w=work, t=table: alone(w, t), lambda w=work: alone(w, "ticket")
            )
            bench.record_ratio(
                key,
                pairs,
                target=None,
                better="lower",
                against=f"{what} without a trigger; with one that only writes the rows' text once",
            )


def _bulk(writer: Connection, rows: int, table: str = "ticket") -> float:
    return seconds_of(lambda: writer.execute(_insert(table), (rows,)))


def _single(writer: Connection, rows: int, table: str = "ticket") -> float:
    def write() -> None:
        for _ in range(max(rows // 100, 50)):
            writer.execute(_insert(table), (1,))

    return seconds_of(write)


def _insert(table: str) -> bytes:
    return f"INSERT INTO {table} ({COLUMNS}) SELECT {ROW} FROM generate_series(1, %s) n".encode()


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
