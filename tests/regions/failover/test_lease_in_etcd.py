"""The same rules with etcd as the acceptor, which may also be restored from an older snapshot."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from regions.failover.etcd_acceptor import EtcdAcceptor
from regions.failover.lease import Leases
from regions.failover.link import Unreachable
from tests.regions.failover.regions_at_work import STEP, watch
from tests.regions.failover.simulated_etcd import Store, Way
from tests.regions.failover.test_lease import CELL, REGIONS, TTL, LeaseMachine
from tests.regions.failover.world import World


class EtcdMachine(LeaseMachine):
    """A region's link to etcd is the one that the other machine has to acceptor `a`."""

    def __init__(self) -> None:
        self.store = Store()
        self.snapshot = self.store.snapshot()
        self.restored_at = float("-inf")
        super().__init__()

    def _proposer(self, name: str) -> Leases:
        async def travel() -> None:
            await self.world.on_the_way()
            if (name, "a") in self.world.cut:
                raise Unreachable("cut")

        # A process that begins cannot know of a lease that the store has forgotten.
        self.world.now = max(self.world.now, self.restored_at + TTL)
        etcd: Any = Way(self.store, travel)
        clock = lambda: self.world.now  # noqa: E731
        acceptor = EtcdAcceptor(etcd, name, TTL, clock=clock, wall=clock)
        node = REGIONS.index(name) + 1
        return Leases(name, node, {"etcd": acceptor}, TTL, clock=lambda: self.world.now)

    @rule()
    def take_snapshot(self) -> None:
        self.snapshot = self.store.snapshot()

    @rule()
    def restore(self) -> None:
        for name in REGIONS:
            self.world.cut -= {(name, "a")}
            self.loop.run_until_complete(self.leases[name].observe([CELL]))
        self.store.restore(self.snapshot)
        self.restored_at = self.world.now


@given(
    trip=st.sampled_from([0.002, 0.1, 0.3]), load=st.sampled_from([0.0, 0.1]), chance=st.randoms()
)
@settings(max_examples=4, deadline=None, phases=[Phase.generate])
def test_whoever_is_lost_is_replaced_and_there_are_never_two(
    tmp_path_factory: pytest.TempPathFactory, trip: float, load: float, chance: random.Random
) -> None:
    world = World(trip, load, random.Random(chance.random()), etcd=Store())

    def kill(at: float) -> None:
        world.dead = {name for n, name in enumerate(REGIONS, 1) if 15 * n <= at < 15 * n + 10}

    seen = watch(world, tmp_path_factory.mktemp("maps"), 70.0, kill)
    assert seen.most == 1
    assert max(seen.writers) > 69.0
    assert seen.longest_silence(11.0, STEP) <= TTL + 8 * (world.trip + 2 * world.load) + 1.0


TestEtcdMachine = EtcdMachine.TestCase
TestEtcdMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
