"""How long this region leaves each cell's lease to others, before it tries for it (again)."""

from __future__ import annotations

from collections.abc import Callable

from regions.failover.decide import rest
from regions.failover.lease import RESERVED_SECONDS

SUCCESSOR_TRIPS = 6  # whoever a cell was left to looks, proposes, and may have to propose again


class Rests:
    """After tries that came to nothing, and after a cell was left to another region."""

    def __init__(self, clock: Callable[[], float], chance: Callable[[], float]) -> None:
        self._clock = clock
        self._chance = chance
        self._tries: dict[str, int] = {}
        self._until: dict[str, float] = {}
        self._handed_over: dict[str, float] = {}

    def failed(self, name: str, took: float) -> None:
        """A try that took so long came to nothing."""
        tries = self._tries[name] = self._tries.get(name, 0) + 1
        self._until[name] = self._clock() + rest(tries, took, self._chance())

    def over(self, name: str) -> None:
        """The cell has a writer."""
        self._tries.pop(name, None)

    def leave(self, name: str, trip: float) -> float:
        """Another region is better: for how long it has the first try, where the acceptors'
        majority takes `trip` seconds to answer. What is being looked at may be older than this, and
        whoever goes by it would take the lease again at once."""
        pause = _first_try(trip)
        self._until[name] = self._clock() + pause
        return pause

    def hand_over(self, name: str, trip: float) -> None:
        """The same, unless it is handed back."""
        self._handed_over[name] = self._clock() + _first_try(trip)

    def left(self, name: str, *, chosen: bool) -> float:
        """Seconds; not more than 0: it may try. `chosen`: it is the successor."""
        now = self._clock()
        until = self._until.get(name, now)
        return max(until, now if chosen else self._handed_over.get(name, now)) - now


def _first_try(trip: float) -> float:
    return RESERVED_SECONDS + SUCCESSOR_TRIPS * trip
