"""Whose turn it is in each cell that follows the sun, looked up once a turn."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from regions.errors import InvalidTimetable
from regions.timetable import Turn, parse
from regions.topology import CellSpec, WritePolicy


def utc_now() -> datetime:
    return datetime.now(UTC)


def clock(at: datetime) -> str:
    """As an operator is told of a moment of today."""
    return f"{at.astimezone(UTC):%H:%M:%S} UTC"


class Turns:
    def __init__(self, say: Callable[[str, str], object], now: Callable[[], datetime]) -> None:
        self._say = say
        self._now = now
        self._known: dict[str, tuple[str, Turn]] = {}

    def of(self, spec: CellSpec) -> Turn | None:
        """None where no timetable says it: then the writer stays where it is."""
        if spec.policy is not WritePolicy.FOLLOW_THE_SUN or not spec.timetable:
            return None
        now = self._now()
        text, turn = self._known.get(spec.name, ("", None))
        if turn is None or text != spec.timetable or not turn.since <= now < turn.until:
            try:
                turn = parse(spec.timetable).at(now)
            except InvalidTimetable as error:
                self._say(spec.name, f"Its timetable is of no use: {error}")
                return None
            self._known[spec.name] = (spec.timetable, turn)
        return turn
