"""A seed is a run: the same operations, the same faults."""

from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.clients import operations
from tests.faults.history import CLIENT
from tests.faults.schedule import KINDS, faults
from tests.faults.workloads import WORKLOADS

REGIONS = ("eu-west", "eu-central", "us-east")
EVERY = list(WORKLOADS.values())

seeds = st.integers(0, 2**32)


@given(seed=seeds, client=st.integers(1, 9))
def test_a_seed_replays_what_a_client_does(seed: int, client: int) -> None:
    once, again = (list(islice(operations(seed, client, "eu-west", EVERY), 50)) for _ in range(2))
    assert once == again
    assert [each.number // CLIENT for each in once] == [client] * 50
    assert len({each.number for each in once}) == 50


def test_another_seed_is_another_run() -> None:
    one, other = (list(islice(operations(n, 1, "eu-west", EVERY), 50)) for n in (1, 2))
    assert one != other
    assert faults(1, 30, REGIONS) != faults(2, 30, REGIONS)


@given(seed=seeds, seconds=st.floats(4, 120))
def test_a_seed_replays_what_goes_wrong_and_all_of_it_is_mended_in_time(
    seed: int, seconds: float
) -> None:
    found = faults(seed, seconds, REGIONS)
    assert found == faults(seed, seconds, REGIONS)
    for fault in found:
        assert fault.region != fault.peer
        assert fault.at > 0
        assert fault.at + fault.seconds <= seconds + 0.01


@given(seed=seeds)
def test_every_kind_of_fault_comes_before_any_comes_again(seed: int) -> None:
    found = [fault.kind for fault in faults(seed, 300, REGIONS)]
    assert set(found[: len(KINDS)]) == set(KINDS)
