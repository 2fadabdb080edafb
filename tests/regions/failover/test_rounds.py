"""Renewals share rounds of votes: many that are handed over at once are not renewed one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import cast

from regions.failover.lease import Held, Leases
from regions.failover.rounds import Rounds
from tests.regions.failover.simulated import simulate

TRIP = 0.2


class Votes:
    """Stands for a proposer whose acceptors answer after TRIP seconds."""

    def __init__(self) -> None:
        self.asked: list[set[str]] = []

    async def renew(self, held: Iterable[Held]) -> dict[str, Held]:
        leases = {lease.cell: lease for lease in held}
        self.asked.append(set(leases))
        await asyncio.sleep(TRIP)
        return {cell: lease for cell, lease in leases.items() if cell != "lost"}


def held(cell: str) -> Held:
    return Held(cell, 1, 1, 0.0, 3.0)


def test_fifty_that_ask_while_others_are_asked_share_the_next_round() -> None:
    votes = Votes()
    rounds = Rounds(cast(Leases, votes))
    names = [f"cell-{number}" for number in range(50)]

    async def ask(name: str, after: float) -> bool:
        await asyncio.sleep(after)
        return name in await rounds.renew([held(name)])

    async def test() -> tuple[bool, list[bool], float]:
        first = asyncio.create_task(ask("first", 0.0))
        many = [asyncio.create_task(ask(name, TRIP / 2)) for name in names]
        done = await asyncio.gather(*many)
        return await first, done, asyncio.get_running_loop().time()

    first, done, at = simulate(test())
    assert first
    assert all(done)
    assert votes.asked == [{"first"}, set(names)]
    assert at <= 3 * TRIP


def test_who_gives_up_takes_no_round_from_the_others_and_what_is_lost_is_not_said_to_live() -> None:
    votes = Votes()
    rounds = Rounds(cast(Leases, votes))

    async def test() -> dict[str, Held]:
        hasty = asyncio.create_task(rounds.renew([held("lost")]))
        patient = asyncio.create_task(rounds.renew([held("kept")]))
        await asyncio.sleep(TRIP / 2)
        hasty.cancel()
        return await patient

    assert set(simulate(test())) == {"kept"}
    assert votes.asked == [{"lost", "kept"}]
