"""What becomes of leases when etcd is lost, slow, without a majority, or restored."""

from __future__ import annotations

import asyncio

from regions.failover.etcd_acceptor import EtcdAcceptor
from regions.failover.lease import Held, Leases
from tests.etcd import Cluster
from tests.regions.failover.stores import in_etcd

TTL = 3.0
LONG = 300.0
SHORT = 3.0  # the time that is lost where nobody answers
FROZEN = 12.0  # a third of it is lost to a member that does not


async def renewed(leases: Leases, held: dict[str, Held]) -> dict[str, Held]:
    return await leases.renew(held.values())


async def got(leases: Leases, cell: str) -> Held:
    """Tries until it gets the lease: a first try may only teach it how high others' ballots are."""
    while not (won := await leases.acquire([cell])):
        await asyncio.sleep(0.05)
    return won[cell]


async def keeps(leases: Leases, held: dict[str, Held]) -> None:
    """Tries until the renewal comes through, as the agent does."""
    while not await renewed(leases, held):
        assert leases._clock() < min(lease.until for lease in held.values())


def test_a_member_that_is_lost_or_frozen_costs_no_lease(etcd: Cluster) -> None:
    async def test(a: Leases, b: Leases) -> None:
        held = {"member": await got(a, "member")}
        for name in etcd.members:
            etcd.freeze(name)
            try:
                await keeps(a, held)
            finally:
                etcd.thaw(name)
        etcd.kill("m0")
        try:
            await keeps(a, held)
        finally:
            etcd.start("m0")
        etcd.await_leader()
        while (await b.observe(["member"]))["member"].holder != "a":
            assert a._clock() < held["member"].until

    with in_etcd(etcd, FROZEN) as store:
        store.run(test, LONG)


def test_without_a_majority_nobody_gets_a_lease_and_what_is_held_lives_on(etcd: Cluster) -> None:
    async def test(a: Leases, b: Leases) -> None:
        held = {"majority": await got(a, "majority")}
        etcd.kill("m1", "m2")
        try:
            assert not await renewed(a, held)
            assert held["majority"].until > a._clock()
            assert not await b.acquire(["majority", "fresh"])
            assert (await b.observe(["majority"]))["majority"].answered == 0
        finally:
            etcd.start("m1", "m2")
        etcd.await_leader()
        await keeps(a, held)
        assert await got(b, "fresh")

    with in_etcd(etcd, SHORT) as store:
        store.run(test, LONG)


def test_a_store_that_went_back_grants_nothing_that_it_may_have_granted_before(
    etcd: Cluster,
) -> None:
    """b was told of the lease that the store has forgotten only by the store's going back."""

    async def test(a: Leases, b: Leases) -> None:
        await b.release(await got(b, "restored"), successor=None, reserved=0)
        etcd.snapshot()
        held = {"restored": await got(a, "restored")}
        etcd.restore()
        # The holder has its lease until it ends, and not a moment longer.
        assert not await b.acquire(["restored"])
        assert not await renewed(a, held)
        won = await got(b, "restored")
        assert a._clock() >= held["restored"].until
        assert won.epoch > held["restored"].epoch

    with in_etcd(etcd) as store:
        store.run(test, TTL)


def test_the_last_word_about_a_region_that_stands_aside_is_heard_whatever_clocks_show(
    etcd: Cluster,
) -> None:
    async def test(a: Leases, b: Leases) -> None:
        await got(a, "aside")
        acceptor = a._acceptors["etcd"]
        assert isinstance(acceptor, EtcdAcceptor)
        say = acceptor.stand_aside
        for at, aside in ((2.0, True), (1.0, False), (3.0, True)):
            await say("us-east", at, aside)
            assert ("us-east" in (await b.observe(["aside"]))["aside"].aside) is aside

    with in_etcd(etcd) as store:
        store.run(test, LONG)
