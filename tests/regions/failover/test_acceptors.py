"""Real acceptors: many cells in one message, and looks that cost nothing while nothing changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from regions.deployment import Deployment
from regions.failover.lease import Leases
from tests.regions.failover.stores import Store, in_etcd, in_postgres

TTL = 600.0
CELLS = [f"cell-{number}" for number in range(1000)]


@pytest.fixture(scope="module", params=["postgres", "etcd"])
def store(request: pytest.FixtureRequest, deployment: Deployment) -> Iterator[Store]:
    if request.param == "postgres":
        with in_postgres(deployment) as store:
            yield store
    else:
        with in_etcd(request.getfixturevalue("etcd")) as store:
            yield store


def test_a_thousand_leases_are_got_kept_and_seen_in_a_few_messages(store: Store) -> None:
    async def test(a: Leases, b: Leases) -> None:
        held = await a.acquire(CELLS)
        assert set(held) == set(CELLS)
        assert set(await a.renew(held.values())) == set(CELLS)
        views = await b.observe(CELLS)
        assert {view.holder for view in views.values()} == {"a"}
        assert not await b.acquire(CELLS[:10])
        # b's try has raised the promises of ten: they are prepared anew, once a knows how high.
        once, again = await a.renew(held.values()), await a.renew(held.values())
        assert set(once) >= set(CELLS[10:])
        assert set(again) == set(CELLS)
        assert {name: lease.epoch for name, lease in again.items()} == {
            name: lease.epoch for name, lease in held.items()
        }

    store.run(test, TTL)


def test_who_was_promised_a_ballot_is_not_outrun_by_a_renewal_on_its_way(store: Store) -> None:
    """One of two cells: what has changed need not be what was written last."""

    async def test(a: Leases, b: Leases) -> None:
        held = await a.acquire(["promised", "kept"])
        way, rival = (next(iter(each._acceptors.values())) for each in (a, b))
        ballot = held["promised"].ballot + (1 << 20)
        granted = await rival.prepare({"promised": ballot})
        assert granted["promised"][0]
        assert granted["promised"][1].live
        accepted = {name: (lease.ballot, lease.epoch) for name, lease in held.items()}
        assert await way.accept(accepted, "a", TTL) == {"kept"}
        assert await rival.accept({"promised": (ballot, held["promised"].epoch + 1)}, "b", TTL) == {
            "promised"
        }
        assert not await way.accept({"promised": accepted["promised"]}, "a", TTL)

    store.run(test, TTL)


def test_what_is_seen_is_the_same_object_until_it_changes(store: Store) -> None:
    async def test(a: Leases, b: Leases) -> None:
        cells = ["same", "other"]
        held = await a.renew((await a.acquire(cells)).values())
        first = await b.observe(cells)
        assert await b.observe(cells) is first
        renewed = await a.renew(held.values())
        assert await b.observe(cells) is first
        await a.release(renewed["same"], successor="b", reserved=TTL)
        second = await b.observe(cells)
        assert second["same"].open
        assert second["same"].successor == "b"
        assert not second["other"].open
        assert await b.observe(["same"]) is not second
        won = await b.acquire(["same"])
        assert won["same"].epoch > renewed["same"].epoch

    store.run(test, TTL)


def test_a_lease_is_seen_to_end_and_to_live_again(store: Store) -> None:
    async def test(a: Leases, b: Leases) -> None:
        async def got() -> int:
            """Its epoch. On a busy machine it may have ended when it is got."""
            while not (won := await a.acquire(["short"])):
                await asyncio.sleep(0.05)
            return won["short"].epoch

        epoch = await got()
        # Or before anybody looks.
        while (await b.observe(["short"]))["short"].holder != "a":
            epoch = await got()
        while (await b.observe(["short"]))["short"].holder == "a":
            await asyncio.sleep(0.05)
        again = await got()
        assert again > epoch
        assert (await b.observe(["short"]))["short"].epoch == again

    store.run(test, 1.0)
