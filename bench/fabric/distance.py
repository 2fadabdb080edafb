"""Three regions apart: how soon they agree after a storm of conflicting writes, and how quickly one
that was cut off catches up."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from bench.fabric.stream import COLUMNS, ROW
from bench.fabric.trio import Trio, start
from bench.frame import Bench
from infra.wan.conditions import HEALTHY, Condition, LinkState

KEYS = ("fabric.storm_converge_ms", "fabric.catchup_x")
RTT_MS = 80
STORM = 1_000  # writes a second, of all regions together
HOT = 50  # rows
RATE = 500  # transactions a second while a region is cut off
PATIENCE_SECONDS = 90.0

_INSERT = (
    f"INSERT INTO ticket (id, {COLUMNS}) SELECT n, {ROW} FROM generate_series(%s, %s::bigint) n"
)
_UPDATE = "UPDATE ticket SET votes = votes + 1, status = %s, updated_at = now() WHERE id = %s"
_CONTENT = "SELECT md5(string_agg(t::text, '' ORDER BY id)) FROM ticket t"
_NEWEST = "SELECT max(id) FROM ticket"


def run(bench: Bench) -> None:
    if not any(map(bench.wants, KEYS)):
        return
    with start() as trio:
        with trio.connect(trio.spec.regions[0]) as writer:
            writer.execute(_INSERT, (1, HOT))
        _await_agreement(trio)
        if bench.wants("fabric.storm_converge_ms"):
            _storm(bench, trio, 2 if bench.quick else 10)
        if bench.wants("fabric.catchup_x"):
            _catch_up(bench, trio, 3 if bench.quick else 60)


def _storm(bench: Bench, trio: Trio, seconds: int) -> None:
    trio.condition(Condition(latency_ms=RTT_MS / 2))
    number = seconds * STORM // len(trio.spec.regions)

    def write(region: str) -> None:
        with trio.connect(region) as session:
            chance = random.Random(region)  # noqa: S311 - which rows are hot is no secret
            _paced(
                STORM / len(trio.spec.regions),
                number,
                lambda n: session.execute(_UPDATE, (f"{region[:2]}-{n}", chance.randint(1, HOT))),
            )

    def measure() -> float:
        writers = [threading.Thread(target=write, args=(name,)) for name in trio.spec.regions]
        for thread in writers:
            thread.start()
        for thread in writers:
            thread.join()
        ended = time.perf_counter()
        _await_agreement(trio)
        return (time.perf_counter() - ended) * 1000

    bench.record(
        "fabric.storm_converge_ms",
        [measure() for _ in range(bench.runs(3))],
        unit="ms",
        target=2 * RTT_MS + 200,
        better="lower",
        against=f"{STORM} writes a second on {HOT} rows in three regions {RTT_MS} ms apart for"
        f" {seconds} s, from the last commit until all replicas hold the same",
    )
    trio.condition(HEALTHY)


def _catch_up(bench: Bench, trio: Trio, seconds: int) -> None:
    """While the writer goes on. It is caught up when it has what was written a moment ago."""
    writer, peer, _ = trio.spec.regions
    first = 1_000_000
    written = [first]
    healed = threading.Event()
    done = threading.Event()

    def write(n: int) -> None:
        session.execute(_INSERT, (first + n, first + n))
        written[0] = first + n
        if n == seconds * RATE:
            healed.set()

    trio.condition(Condition(state=LinkState.CUT))
    with trio.connect(writer) as session, trio.connect(peer) as reader:
        most = (seconds + int(PATIENCE_SECONDS)) * RATE
        thread = threading.Thread(target=_paced, args=(RATE, most, write, done))
        thread.start()
        healed.wait()
        trio.condition(HEALTHY)
        started = time.perf_counter()

        def caught_up() -> bool:
            wanted = written[0]
            time.sleep(0.1)
            ((newest,),) = reader.execute(_NEWEST).fetchall()
            return bool(newest >= wanted)

        try:
            _await("the peer has caught up", caught_up)
        finally:
            done.set()
            thread.join()
        took = time.perf_counter() - started
    bench.record(
        "fabric.catchup_x",
        [(seconds + took) / took],
        unit="x",
        target=5,
        better="higher",
        against=f"after {seconds} s without a link at {RATE} transactions a second, which go on:"
        " seconds of writes that the peer applied in a second",
    )


def _paced(
    rate: float, number: int, work: Callable[[int], object], done: threading.Event | None = None
) -> None:
    started = time.perf_counter()
    for n in range(1, number + 1):
        if done is not None and done.is_set():
            return
        work(n)
        time.sleep(max(0.0, started + n / rate - time.perf_counter()))


def _await_agreement(trio: Trio) -> None:
    with ExitStack() as stack:
        sessions = [stack.enter_context(trio.connect(region)) for region in trio.spec.regions]

        def alike() -> bool:
            contents = {session.execute(_CONTENT).fetchone() for session in sessions}
            return len(contents) == 1 and contents != {(None,)}

        _await("the regions agree", alike)


def _await(what: str, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.005)
