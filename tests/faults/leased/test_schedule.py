"""What goes wrong is the seed's affair alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.leased.schedule import KINDS, MEMBERS, faults

REGIONS = ("a", "b", "c")
ETCD = ("m0", "m1", "m2")


@given(st.integers(0, 10_000))
def test_the_same_seed_breaks_the_same(seed: int) -> None:
    found = faults(seed, 8.0, REGIONS)
    assert found == faults(seed, 8.0, REGIONS)
    assert 2 <= len(found) <= 4
    for fault in found:
        assert fault.region != fault.peer
        assert 0 < fault.at < 9
        assert 1.0 <= fault.seconds <= 8.0


def test_a_hundred_seeds_break_everything_everywhere() -> None:
    broken = [fault for seed in range(100) for fault in faults(seed, 8.0, REGIONS)]
    assert {(fault.kind, fault.region) for fault in broken} == {
        (kind, region) for kind in KINDS for region in REGIONS
    }


def test_with_etcd_a_hundred_seeds_break_each_member_in_each_way_and_the_rest_as_without() -> None:
    broken = set()
    for seed in range(100):
        *others, last = faults(seed, 8.0, REGIONS, ETCD)
        assert others == faults(seed, 8.0, REGIONS)
        broken.add((last.kind, last.region))
    assert broken == {(kind, member) for kind in MEMBERS for member in ETCD}
