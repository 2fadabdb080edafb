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
from tenants.limits.admission import LEASE_SECONDS, Gate, Outcome
from tenants.limits.store import DATABASE, Store
from testkit.servers import start_valkey

Limited = Callable[..., TenantRecord]
ROOT = Path(__file__).parents[3]

# A process of the region that asks as often as it can, or takes slots and keeps them.
ASK = """
import sys, time
from uuid import UUID
from tests.tenants.limits.conftest import made
from dataclasses import replace
from tenants.limits.admission import Gate, Outcome
from tenants.limits.store import Store
url, tenant, what, number, seconds = sys.argv[1:]
record = replace(made(**eval(what)), id=UUID(tenant))
gate = Gate(Store(url))
end = time.monotonic() + float(seconds)
got = 0
while got < int(number) and time.monotonic() < end:
    got += gate.enter(record).outcome is Outcome.ADMITTED
print(got, flush=True)
time.sleep(60 if record.limits.concurrent_requests else 0)
"""


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


def test_after_the_burst_requests_are_refused_with_the_time_to_wait(gate: Gate, limited: Limited):
    tenant = limited(requests_per_minute=60, burst=3)
    assert [gate.enter(tenant).left for _ in range(3)] == [2, 1, 0]
    refused = gate.enter(tenant)
    assert refused.outcome is Outcome.TOO_OFTEN
    assert 0 < refused.wait <= 1
    time.sleep(refused.wait + 0.01)
    assert gate.enter(tenant).outcome is Outcome.ADMITTED


def test_one_tenants_flood_takes_nothing_from_another(gate: Gate, limited: Limited):
    loud, calm = limited(requests_per_minute=60), limited(requests_per_minute=60)
    assert outcomes(gate, loud, 20).count(Outcome.TOO_OFTEN) >= 12
    assert outcomes(gate, calm, 6) == [Outcome.ADMITTED] * 6


def test_processes_of_a_region_count_together(gate: Gate, limited: Limited, process):
    limits = {"requests_per_minute": 6_000, "burst": 50}
    tenant = limited(**limits)
    began = time.monotonic()
    asking = [process(tenant, number=10**6, seconds=1.5, **limits) for _ in range(3)]
    admitted = sum(int(each.communicate(timeout=60)[0]) for each in asking)
    assert 50 < admitted <= 50 + 100 * (time.monotonic() - began)


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


def test_a_request_that_lasts_longer_than_its_lease_keeps_its_slot(gate: Gate, limited: Limited):
    tenant = limited(concurrent_requests=1)
    held = gate.enter(tenant)
    time.sleep(LEASE_SECONDS + 0.5)
    assert gate.enter(tenant).outcome is Outcome.TOO_MANY
    gate.leave(held)


def test_a_killed_process_leaks_no_slots(gate: Gate, limited: Limited, process):
    tenant = limited(concurrent_requests=4)
    other = process(tenant, number=4, seconds=30, concurrent_requests=4)
    assert int(other.stdout.readline()) == 4
    time.sleep(LEASE_SECONDS)
    assert gate.enter(tenant).outcome is Outcome.TOO_MANY
    other.send_signal(signal.SIGKILL)
    other.wait()
    killed = time.monotonic()
    while gate.enter(tenant).outcome is not Outcome.ADMITTED:
        assert time.monotonic() - killed < LEASE_SECONDS + 30
        time.sleep(0.05)


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
    tenant = limited(requests_per_minute=600, burst=2, concurrent_requests=1)
    gate.enter(tenant)
    for key in store.client.keys(f"*{tenant.id}*"):
        assert 0 < store.client.pttl(key) <= LEASE_SECONDS * 1000


@pytest.fixture
def lost(tmp_path, limited):
    """A gate whose store can be frozen and killed."""
    from testkit.ports import free_port_base

    url = f"redis://127.0.0.1:{free_port_base()}"
    server = start_valkey(url, tmp_path)
    store = Store(f"{url}/{DATABASE}")
    yield Gate(store), server, store
    server.kill()
    server.wait()
    store.client.close()


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_without_the_store_a_process_counts_by_itself(lost, limited: Limited, how: str):
    gate, server, _ = lost
    tenant = limited(requests_per_minute=6, burst=6, concurrent_requests=4)
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
    deadline = time.monotonic() + 30
    while not gate.enter(tenant).shared:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_store_that_is_down_is_asked_once_a_second(lost, limited: Limited):
    gate, server, store = lost
    tenant = limited(requests_per_minute=60_000_000, burst=1_000_000)
    server.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    outcomes(gate, tenant, 2_000)
    # Each question would wait for the store's patience.
    assert time.monotonic() - began < 20
    with pytest.raises(redis.RedisError):
        store.client.ping()
