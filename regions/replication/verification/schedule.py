"""When a cell's replicas are compared without anybody asking.

Each replica knows how often (`every`) and when it last was. The home's agent does it; another
region's, only if nobody has for TURN_SECONDS longer: no agent need know which of the others is up.
"""

from __future__ import annotations

from datetime import datetime, timedelta

TURN_SECONDS = 600.0

# Of when a comparison ended, whether or not it had a result: a cell that can't be compared is not
# tried all the time.
SIGHT = (
    "m.verify_every",
    "(SELECT max(at) FROM fabric.verification)",
    "clock_timestamp()",
)


def due(
    every: timedelta | None, last: datetime | None, now: datetime, *, since: datetime, turn: int
) -> bool:
    """`since`: when this agent began, for a cell that has never been compared. `turn`: this
    region's place among the cell's, the home's is 0."""
    if not every:
        return False
    waited = now - (last or since)
    return waited >= every + timedelta(seconds=TURN_SECONDS * turn)
