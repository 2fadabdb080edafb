"""How far a replica's log has got, by itself and by what others know of it.

A peer only ever knows what its origin has committed, so an origin whose own log ends before that is
not what it was: its database went back in time. Numbers are those of the log's entries (`seq`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

# At the origin, where an entry's `arrival` is its number, but for what an agent of an earlier
# version writes until it is restarted. The newest is never pruned; without any, it has just been
# made.
OWN = """
SELECT coalesce(greatest(
    (SELECT max(arrival) FROM fabric.change c WHERE c.origin = m.node),
    (SELECT max(seq) FROM fabric.change c WHERE c.origin = m.node AND c.arrival IS NULL)),
                (SELECT last_value FROM fabric.change_seq))
  FROM fabric.member m
"""
# At a peer, of an origin: in its inbox, or applied; and since when it is none of the cell any more.
REMEMBERED = """
SELECT coalesce(greatest(
    (SELECT max(c.seq) FROM fabric.change c
      WHERE c.origin = asked.node AND c.arrival > coalesce(w.arrival, 0)), w.seq, w.heartbeat), 0),
       (SELECT at FROM fabric.expelled e WHERE e.node = asked.node)
  FROM (SELECT %s::smallint AS node) AS asked
  LEFT JOIN fabric.watermark w ON w.origin = asked.node
"""

# A number of its own: those of all transactions that are under way are smaller; and the oldest of
# those.
BEGUN = "SELECT pg_current_xact_id()::text::bigint"
OLDEST = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"

# The server's start has to be looked at again.
DISTRUST = "UPDATE fabric.gate SET trusted_start = '-infinity'"
CLOSE_GAPS = "UPDATE fabric.watermark SET gap = NULL WHERE region = ANY (%s)"

PATIENCE_SECONDS = 30.0


class Trust(StrEnum):
    """May a replica serve, after its server has started?"""

    SERVE = "serve"
    WAIT = "wait"
    REPAIR = "repair"
    STAY_OUT = "stay out"


@dataclass(frozen=True, slots=True)
class Sight:
    """`own`: where the log ends, read after the others had answered. `noted`: what this region's
    agent had noted of this database (None: nothing). `known`: what peers remember (None: silent).
    `waited`: for how many seconds they have been asked. `expelled`: when the region was taken out
    of the cell as lost (None: it is one of its regions)."""

    region: str
    own: int
    noted: int | None
    known: Mapping[str, int | None]
    waited: float
    expelled: datetime | None = None


def judge(sight: Sight) -> tuple[Trust, str]:
    """What to do, and the sentence that says why."""
    if sight.expelled is not None:
        since = sight.expelled.astimezone(UTC).isoformat(timespec="seconds")
        return Trust.STAY_OUT, (
            f"{sight.region} was lost, and taken out of the cell at {since}: its replica stays"
            " shut, and what it had not sent is in it alone."
        )
    remembered = {name: seq for name, seq in sight.known.items() if seq is not None}
    if sight.noted is not None:
        remembered["its own agent"] = sight.noted
    silent = sorted(name for name, seq in sight.known.items() if seq is None)
    most = max(remembered, key=lambda name: remembered[name], default=None)
    if most is not None and remembered[most] > sight.own:
        return Trust.REPAIR, (
            f"The replica in {sight.region} went back in time: its log ends at {sight.own}, and"
            f" {most} has seen {remembered[most]} of it. It was started on an old backup."
        )
    if not silent:
        return Trust.SERVE, f"The log of {sight.region} ends where its peers say."
    if sight.noted is not None:
        return Trust.SERVE, f"{', '.join(silent)} not answering, its own note counts."
    if len(silent) < len(sight.known) and sight.waited >= PATIENCE_SECONDS:
        return Trust.SERVE, f"{', '.join(silent)} not answering, the others' word counts."
    return Trust.WAIT, (
        f"Nobody may write in {sight.region} yet: whether its database went back in time only"
        f" {', '.join(silent)} can tell."
    )
