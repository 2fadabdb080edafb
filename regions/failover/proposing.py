"""What a proposer of PaxosLease concludes from the acceptors' answers. Pure.

`tests/regions/failover/test_lease_states.py` looks at every state that small configurations can get
into, over these functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from regions.failover.acceptors import Accepted

DRIFT = 0.1
NODE_BITS = 8

Promise = tuple[bool, Accepted]


def majority_of(acceptors: int) -> int:
    """Any two share an acceptor."""
    return acceptors // 2 + 1


def ballot_of(number: int, node: int) -> int:
    """No other node's, in whatever round."""
    return number << NODE_BITS | node


def last_round(number: int, promised: Iterable[int]) -> int:
    """The highest of its own and of those that are promised: the next one is above all of them."""
    return max([number, *(ballot >> NODE_BITS for ballot in promised)])


def open_epoch(region: str, promises: Sequence[Promise], majority: int) -> int | None:
    """The epoch to propose: a majority has promised, and says that nobody else holds the lease.
    One more than any that was accepted, so that it only grows."""
    willing = [
        accepted
        for granted, accepted in promises
        if granted and not (accepted.live and accepted.holder != region)
    ]
    if len(willing) < majority:
        return None
    return max(accepted.epoch for _, accepted in promises) + 1


def still_held(region: str, epoch: int, promises: Sequence[Promise], majority: int) -> bool:
    """Whether the lease may be proposed anew, with a higher ballot and the same epoch."""
    mine = [
        accepted
        for granted, accepted in promises
        if granted and accepted.holder == region and accepted.epoch == epoch
    ]
    return len(mine) >= majority


def ends(asked: float, ttl: float) -> float:
    """By the holder's clock: before it ends by any acceptor's, which began to count later."""
    return asked + ttl * (1 - DRIFT)
