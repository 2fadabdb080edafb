"""No state of a small configuration has two live leases, nor an epoch that goes backwards; and each
guard of the protocol is needed for that."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from regions.failover import proposing
from regions.failover.proposing import Promise
from tests.regions.failover.lease_states import Broken, Budget, Rules, explore
from tests.regions.failover.simulated import Vote

TRIES = Budget(tries=(1, 1))
RESTART = Budget(tries=(1, 1), restarts=1)
RESTORE = Budget(tries=(1, 1), restores=1)
RELEASE = Budget(tries=(1, 1), renewals=1, releases=1)
# Three have too many states for all times: they are as quick as a lease is long.
THREE_RELEASE = Budget(tries=(1, 1, 1), releases=1, ticks=0)
THREE_RESTART = Budget(tries=(1, 1, 1), restarts=1, ticks=0)


@pytest.fixture(autouse=True)
def no_garbage_is_looked_for() -> Iterator[None]:
    """A quarter of the time, and no state is in a cycle."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("budget", [TRIES, RESTART, RELEASE, RESTORE, THREE_RELEASE, THREE_RESTART])
def test_no_state_has_two_live_leases_or_an_older_epoch(budget: Budget) -> None:
    assert explore(budget) > 10_000


def deaf(region: str, promises: Sequence[Promise], majority: int) -> int | None:
    """Proposes although somebody else holds the lease."""
    unheard = [(granted, replace(one, live=False)) for granted, one in promises]
    return proposing.open_epoch(region, unheard, majority)


def unchanged(region: str, promises: Sequence[Promise], majority: int) -> int | None:
    """Takes the epoch that it finds."""
    epoch = proposing.open_epoch(region, promises, majority)
    return None if epoch is None else max(1, epoch - 1)


class Forgetful(Vote):
    """Accepts what is below its promise."""

    def accept(self, ballot: int, epoch: int, holder: str, expires: float) -> bool:
        self.promised = min(self.promised, ballot)
        return super().accept(ballot, epoch, holder, expires)


MUTANTS = {
    "who proposes does not heed a lease": (TRIES, Rules(open_epoch=deaf)),
    "an epoch is taken twice": (TRIES, Rules(open_epoch=unchanged)),
    "one acceptor is enough": (TRIES, Rules(majority=1)),
    "a promise is not kept": (TRIES, Rules(vote=Forgetful)),
    "a promise is not kept to one of three": (THREE_RESTART, Rules(vote=Forgetful)),
    "a holder counts longer than the acceptors": (
        TRIES,
        Rules(ends=lambda asked, ttl: asked + 2 * ttl),
    ),
    "a restored acceptor votes at once": (RESTORE, Rules(mute=0)),
    "a restored acceptor does not learn": (RESTORE, Rules(learns=False)),
}


@pytest.mark.parametrize(("budget", "rules"), MUTANTS.values(), ids=MUTANTS.keys())
def test_without_a_guard_there_is_such_a_state(budget: Budget, rules: Rules) -> None:
    with pytest.raises(Broken):
        explore(budget, rules)
