"""Admission on a real Valkey: counted together, by processes that may be killed or cut off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from tenants.directory import TenantRecord
from tenants.limits import admission
from tenants.limits.admission import LEASE_SECONDS, Gate, Outcome
from tenants.limits.pulse import BEAT_SECONDS
from tenants.limits.store import DATABASE, RETRY_SECONDS, Store
from testkit.ports import free_ports
from testkit.servers import start_valkey
from tests.tenants.workers import until

Limited = Callable[..., TenantRecord]
ROOT = Path(__file__).parents[3]

# A process of the region that asks as often as it can, or takes slots and keeps them: how many it
# got, and from when to when.
ASK = """
import sys, time
from uuid import UUID
from tenants.limits import admission, store
store.PATIENCE_SECONDS = 60.0
admission.LEASE_SECONDS = 10.0
from tests.tenants.limits.conftest import made
from dataclasses import replace
from tenants.limits.admission import Gate, Outcome
from tenants.limits.store import Store
url, tenant, what, number, seconds = sys.argv[1:]
record = replace(made(**eval(what)), id=UUID(tenant))
gate = Gate(Store(url))
began = time.monotonic()
got = 0
while got < int(number) and time.monotonic() < began + float(seconds):
    got += gate.enter(record).outcome is Outcome.ADMITTED
print(got, began, time.monotonic(), flush=True)
time.sleep(60 if record.limits.concurrent_requests else 0)
"""


@pytest.fixture(autouse=True)
def long_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """No slot of this process is free again because the machine is busy."""
    monkeypatch.setattr(admission, "LEASE_SECONDS", 600.0)


@pytest.fixture
def process(valkey: str):
    """Starts processes that ask; ends them."""
    started = []

    def start(tenant: TenantRecord, *, number: int, seconds: float, **limits: int):
        command = [sys.executable, "-c", ASK, f"{valkey}/{DATABASE}", str(tenant.id), repr(limits)]
        started.append(
            subprocess.Popen(
                [*command, str(number), str(seconds)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}"},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()
        each.stdout.close()


def outcomes(gate: Gate, tenant: TenantRecord, number: int) -> list[Outcome]:
    return [gate.enter(tenant).outcome for _ in range(number)]


def test_after_the_burst_requests_are_refused_with_the_time_to_wait(
    gate: Gate, limited: Limited, store: Store
):
    tenant = limited(requests_per_minute=1, burst=3)
    assert [gate.enter(tenant).left for _ in range(3)] == [2, 1, 0]
    refused = gate.enter(tenant)
    assert refused.outcome is Outcome.TOO_OFTEN
    assert 0 < refused.wait <= 60
    bucket = f"rate:{{{tenant.id}}}"
    # As if that time were over.
    store.client.set(bucket, int(store.client.get(bucket)) - int(refused.wait * 1_000_000) - 1)
    assert outcomes(gate, tenant, 2) == [Outcome.ADMITTED, Outcome.TOO_OFTEN]


def test_one_tenants_flood_takes_nothing_from_another(gate: Gate, limited: Limited):
    loud, calm = (limited(requests_per_minute=1, burst=6) for _ in range(2))
    assert outcomes(gate, loud, 20).count(Outcome.TOO_OFTEN) == 14
    assert outcomes(gate, calm, 6) == [Outcome.ADMITTED] * 6


def test_processes_of_a_region_count_together(gate: Gate, limited: Limited, process):
    limits = {"requests_per_minute": 6_000, "burst": 50}
    tenant = limited(**limits)
    asking = [process(tenant, number=100, seconds=120, **limits) for _ in range(3)]
    told = [each.communicate(timeout=240)[0].split() for each in asking]
    assert [int(admitted) for admitted, *_ in told] == [100] * 3
    began = min(float(first) for _, first, _ in told)
    ended = max(float(last) for *_, last in told)
    assert 50 + 100 * (ended - began) + 1 >= 300


def test_slots_are_free_again_when_requests_end(gate: Gate, limited: Limited):
    tenant = limited(concurrent_requests=2)
    first, second = gate.enter(tenant), gate.enter(tenant)
    assert gate.enter(tenant).outcome is Outcome.TOO_MANY
    gate.leave(first)
    third = gate.enter(tenant)
    assert third.outcome is Outcome.ADMITTED
    gate.leave(second)
    gate.leave(third)
    assert outcomes(gate, tenant, 3) == [Outcome.ADMITTED, Outcome.ADMITTED, Outcome.TOO_MANY]


def test_the_lease_of_a_request_that_lasts_long_is_renewed_in_time(
    gate: Gate, limited: Limited, store: Store, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as usual:
        usual.undo()
    assert 2 * BEAT_SECONDS < LEASE_SECONDS
    tenant = limited(concurrent_requests=1)
    held = gate.enter(tenant)
    flight = f"flight:{{{tenant.id}}}"
    first = store.client.zscore(flight, held.lease)
    until(lambda: store.client.zscore(flight, held.lease) > first)
    assert gate.enter(tenant).outcome is Outcome.TOO_MANY
    gate.leave(held)
    gate.renew()
    assert gate.enter(tenant).outcome is Outcome.ADMITTED


def test_a_killed_process_leaks_no_slots(gate: Gate, limited: Limited, process):
    tenant = limited(concurrent_requests=4)
    other = process(tenant, number=4, seconds=120, concurrent_requests=4)
    assert other.stdout.readline().split()[0] == "4"
    assert gate.enter(tenant).outcome is Outcome.TOO_MANY
    other.send_signal(signal.SIGKILL)
    other.wait()
    until(lambda: gate.enter(tenant).outcome is Outcome.ADMITTED)


def test_a_raised_limit_is_in_force_with_the_next_request(gate: Gate, limited: Limited):
    low = limited(requests_per_minute=1, burst=5)
    outcomes(gate, low, 5)
    assert gate.enter(low).wait > 30
    high = replace(low, limits=limited(requests_per_minute=6_000, burst=5).limits)
    assert gate.enter(high).outcome is Outcome.ADMITTED


def test_a_bucket_that_somebody_filled_with_another_time_heals(gate: Gate, limited, store: Store):
    tenant = limited(requests_per_minute=6_000, burst=5)
    store.client.set(f"rate:{{{tenant.id}}}", str(2**53))
    assert outcomes(gate, tenant, 2)[0] is Outcome.ADMITTED
    assert gate.enter(tenant).wait <= 0.01
    store.client.set(f"rate:{{{tenant.id}}}", "0")
    assert gate.enter(tenant).left == 4


def test_what_is_kept_of_a_tenant_goes_away_by_itself(gate: Gate, limited: Limited, store: Store):
    tenant = limited(requests_per_minute=1, burst=2, concurrent_requests=1)
    gate.enter(tenant)
    kept = store.client.keys(f"*{tenant.id}*")
    assert len(kept) == 2
    for key in kept:
        assert 0 < store.client.pttl(key) <= admission.LEASE_SECONDS * 1000


@pytest.fixture
def lost(tmp_path, limited, monkeypatch):
    """A gate whose store can be frozen and killed, and is given up soon."""
    monkeypatch.setattr("tenants.limits.store.PATIENCE_SECONDS", 0.1)
    url = f"redis://127.0.0.1:{next(free_ports())}"
    server = start_valkey(url, tmp_path)
    store = Store(f"{url}/{DATABASE}")
    yield Gate(store), server, store
    server.kill()
    server.wait()
    store.client.close()


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_without_the_store_a_process_counts_by_itself(lost, limited: Limited, how: str):
    gate, server, _ = lost
    tenant = limited(requests_per_minute=1, burst=6, concurrent_requests=4)
    gate.leave(gate.enter(tenant))
    server.send_signal(signal.SIGSTOP if how == "frozen" else signal.SIGKILL)
    verdicts = [gate.enter(tenant) for _ in range(4)]
    assert [verdict.outcome for verdict in verdicts] == [Outcome.ADMITTED] * 4
    assert not any(verdict.shared for verdict in verdicts)
    assert gate.enter(tenant).outcome is Outcome.TOO_MANY
    for verdict in verdicts:
        gate.leave(verdict)
    left = []
    for _ in range(4):
        left.append(gate.enter(tenant))
        gate.leave(left[-1])
    assert [verdict.outcome for verdict in left[-2:]] == [Outcome.TOO_OFTEN] * 2


def test_the_region_counts_together_again_when_the_store_is_back(lost, limited: Limited, tmp_path):
    gate, server, _ = lost
    tenant = limited(requests_per_minute=6_000, burst=50)
    server.send_signal(signal.SIGSTOP)
    assert not gate.enter(tenant).shared
    server.send_signal(signal.SIGCONT)
    until(lambda: gate.enter(tenant).shared)


def test_a_store_that_is_down_is_asked_once_a_second(lost, limited: Limited, monkeypatch):
    gate, server, store = lost
    tenant = limited(requests_per_minute=60_000_000, burst=1_000_000)
    server.send_signal(signal.SIGSTOP)
    asked = []
    ask = gate._ask

    def counted(*question):
        asked.append(question)
        return ask(*question)

    monkeypatch.setattr(gate, "_ask", counted)
    began = time.monotonic()
    outcomes(gate, tenant, 2_000)
    assert 0 < len(asked) <= 1 + (time.monotonic() - began) / RETRY_SECONDS
    with pytest.raises(redis.RedisError):
        store.client.ping()
