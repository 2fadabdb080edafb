"""Keeps a region's limits: a thread of each worker, of which one at a time has the turn.

Guarantees that no number of tasks keeps it from its rounds (it is none of them, and the pool's
threads or processes are others), that a region with many workers makes each round once, and that
a round which fails is logged and made again, and stops no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
import redis
from django.conf import settings
from django.db import Error as DjangoError
from django.db import connections

from regions.cli import one_line
from regions.current import deployment
from regions.errors import RegionsError
from tenants.errors import TenantsError
from tenants.limits import rounds
from tenants.limits.counts import Counts
from tenants.limits.pulse import Pulse
from tenants.limits.store import store_of

logger = logging.getLogger(__name__)

# Looks twice as often as the quickest round is due.
LOOK_SECONDS = 0.5
FAILURES = (psycopg.Error, DjangoError, redis.RedisError, RegionsError, TenantsError, OSError)


@dataclass(frozen=True, slots=True)
class Round:
    """`make(region)` is called every `seconds` by whichever worker comes first."""

    name: str
    seconds: float
    make: Callable[[str], Any]


ROUNDS = (
    Round("watch", 1.0, lambda region: rounds.watch_region(deployment(), region)),
    Round("meter", 1.0, lambda region: rounds.meter_region(deployment(), region)),
    Round("files", rounds.FILES_SECONDS, rounds.measure_files_of),
    Round("usage", 30.0, rounds.report_usage),
)


class Keeper:
    """One worker's. Rounds have a thread each: measuring takes longer than watching may wait."""

    def __init__(self, region: str, every: tuple[Round, ...] = ROUNDS) -> None:
        self.region = region
        self._counts = Counts(store_of(region))
        self._pulses = [Pulse(partial(self.turn, one), seconds=LOOK_SECONDS) for one in every]

    def start(self) -> None:
        for pulse in self._pulses:
            pulse.start()

    def turn(self, one: Round) -> bool:
        """Make the round if it is due and nobody else has it; whether it was made."""
        try:
            if not self._counts.claim(f"turn:{one.name}", one.seconds):
                return False
            one.make(self.region)
        except FAILURES as error:
            logger.warning("Round %r of %s failed: %s", one.name, self.region, one_line(error))
            return False
        finally:
            # What a thread opens itself, nobody closes for it.
            connections.close_all()
        return True


def start_keeper() -> None:
    """When a worker is ready."""
    if settings.MERIDIAN_REGION:
        Keeper(settings.MERIDIAN_REGION).start()
