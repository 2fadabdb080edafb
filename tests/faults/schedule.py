"""What goes wrong when, from a seed alone. Pure.

Each fault has a length, after which it is mended: a server that was killed is started again, one
that was frozen goes on, a link is whole, a clock is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

KINDS = (
    "kill postgres",
    "freeze postgres",
    "full disk",  # of one region's PostgreSQL: nothing goes into its write-ahead log any more
    "kill agent",
    "freeze agent",
    "cut",  # both ways: connections are reset, none can be made
    "black hole",  # one way: what is sent does not arrive until it is mended
    "delay",  # one way
    "narrow",  # one way: a few kilobytes a second
    "clock",  # of one region's database
    "lock",  # somebody there holds hot rows in a transaction
    "schema",  # a column that one region has first, and the others when it is mended
    "restart agent",  # at once, in the middle of its work
)
# Where it happens a replica lacks whole stretches of a peer's log: it is repaired row by row.
LOST_SLOT = "lost slot"  # the region does not keep its log for the peer any more
# A region leaves the cell, and joins it again when that is mended: its clients have no door then.
LEAVE = "leave"
# It is lost, the others expel it, and it joins again when that is mended. What it had
# not sent would be lost by definition: the others have all of it before.
EXPEL = "expel"
# Its server is started on a backup of this moment when that is mended: the others went on, and have
# all that it committed since.
RESTORE = "restore"
LASTING = (1.0, 4.0)
QUIET_SECONDS = 2.0  # at the beginning and between faults, on an average


@dataclass(frozen=True, slots=True)
class Fault:
    """`at` and `seconds` from the beginning of the run; `peer` of a link; `amount`: milliseconds of
    a delay, kilobytes a second of a narrow link, seconds of a clock."""

    at: float
    seconds: float
    kind: str
    region: str
    peer: str
    amount: float = 0.0

    def __str__(self) -> str:
        link = {"cut": " ↔ ", "black hole": " → ", "delay": " → ", "narrow": " → ",
                LOST_SLOT: " → "}.get(self.kind)  # fmt: skip
        where = f"{self.region}{link}{self.peer}" if link else self.region
        unit = {"delay": " ms", "narrow": " kB/s", "clock": " s"}.get(self.kind)
        much = f" {self.amount:+.0f}{unit}" if unit else ""
        return f"{self.at:5.1f} s  {self.kind} {where}{much} for {self.seconds:.1f} s"


def faults(
    seed: int,
    seconds: float,
    regions: Sequence[str],
    kinds: Sequence[str] = KINDS,
    pause: float = QUIET_SECONDS,
    lasting: tuple[float, float] = LASTING,
) -> list[Fault]:
    """Those of a run, in order, `pause` seconds apart on an average, each for `lasting` seconds.
    They may overlap, and every kind comes once before any comes again."""
    random = Random(f"faults {seed}")
    found: list[Fault] = []
    deck: list[str] = []
    at = 1.0
    while kinds and at < seconds - QUIET_SECONDS:
        deck = deck or random.sample(kinds, len(kinds))
        kind = deck.pop()
        region, peer = random.sample(list(regions), 2)
        length = min(random.uniform(*lasting), seconds - at)
        amount = {"delay": random.uniform(100, 800), "clock": random.choice((-60.0, 60.0))}
        if kind == "narrow":
            amount[kind] = random.uniform(10, 100)
        found.append(
            Fault(
                round(at, 2), round(length, 2), kind, region, peer, round(amount.get(kind, 0.0), 1)
            )
        )
        at += random.uniform(0.3, 2 * pause - 0.3)
    return found
