"""Who should write a cell that follows the sun, and when: a timetable, and one pure question to it.

`eu-west 08:00 Europe/Dublin, us-east mon-fri 08:00 America/New_York except 2026-12-25`

A shift begins at a local time of day, in its own zone, and lasts until the next one begins. So some
region always writes and never two, whatever daylight saving does to the zones. Who wants to say
when a shift ends may (`08:00-16:00`); that is refused if it is not when the next one begins, on any
day of the years ahead. On a day that is excepted (a holiday) the shift does not begin, and the
region before goes on. A time that the clocks skip is as much later as they skip; of a time that
comes twice the first counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from regions.errors import InvalidTimetable

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY = frozenset(range(7))
YEARS_AHEAD = 5
LONGEST_DAYS = 400  # no shift begins more rarely than once a week, but for its holidays
_SHIFT = re.compile(
    r"(?P<region>\S+)\s+(?:(?P<days>[a-z]{3}(?:-[a-z]{3})?)\s+)?"
    r"(?P<begins>\d\d:\d\d)(?:-(?P<ends>\d\d:\d\d))?\s+(?P<zone>[A-Za-z]\S*)"
    r"(?:\s+except(?P<holidays>(?:\s+\d{4}-\d\d-\d\d)+))?"
)
GRAMMAR = "REGION [mon-fri] HH:MM[-HH:MM] ZONE [except DATE …]"


@dataclass(frozen=True, slots=True)
class Shift:
    """`region` begins to write at `begins` in `zone`, on these weekdays (Monday is 0)."""

    region: str
    begins: time
    zone: str
    ends: time | None = None
    days: frozenset[int] = EVERY_DAY
    holidays: frozenset[date] = frozenset()

    def begins_on(self, day: date) -> datetime | None:
        """The moment, in UTC; None: not on this weekday."""
        return _moment(day, self.begins, self.zone) if day.weekday() in self.days else None

    def ends_of(self, day: date) -> datetime | None:
        """When the shift that begins on this day is said to end."""
        if self.ends is None:
            return None
        overnight = timedelta(days=self.ends <= self.begins)
        return _moment(day + overnight, self.ends, self.zone)

    def __str__(self) -> str:
        return f"{self.region} {self.begins:%H:%M} {self.zone}"


@dataclass(frozen=True, slots=True)
class Turn:
    """`region` writes from `since` on; at `until` `then` begins."""

    region: str
    since: datetime
    until: datetime
    then: str

    @property
    def reason(self) -> str:
        return (
            f"By the timetable {self.region} writes since {self.since:%a %Y-%m-%d %H:%M} UTC; "
            f"{self.then} begins at {self.until:%a %Y-%m-%d %H:%M} UTC."
        )


@dataclass(frozen=True, slots=True)
class Timetable:
    shifts: tuple[Shift, ...]

    def at(self, moment: datetime) -> Turn:
        """Who should write at this moment, which has a time zone."""
        now = moment.astimezone(UTC)
        since, shift = max(
            (self._begun(one, now) for one in self.shifts), key=lambda begun: begun[0]
        )
        until, then = min(
            (self._begins_next(one, now) for one in self.shifts), key=lambda next_: next_[0]
        )
        return Turn(shift.region, since, until, then.region)

    def _begun(self, shift: Shift, now: datetime) -> tuple[datetime, Shift]:
        found = (begins for begins in _worked(shift, now, -1) if begins <= now)
        return next(found, datetime.min.replace(tzinfo=UTC)), shift

    def _begins_next(self, shift: Shift, now: datetime) -> tuple[datetime, Shift]:
        found = (begins for begins in _worked(shift, now, 1) if begins > now)
        return next(found, datetime.max.replace(tzinfo=UTC)), shift


@lru_cache(maxsize=1024)
def parse(text: str) -> Timetable:
    """Raises InvalidTimetable, with the part that can't be understood."""
    return Timetable(tuple(_parse_shift(part.strip()) for part in text.split(",")))


def check(timetable: Timetable, regions: Sequence[str], today: date) -> None:
    """Raises InvalidTimetable unless exactly one of the cell's regions writes at each moment of
    the years ahead."""
    for shift in timetable.shifts:
        if shift.region not in regions:
            raise InvalidTimetable(
                f"The cell has no replica in {shift.region}: it is in {', '.join(regions)}."
            )
    if len({shift.region for shift in timetable.shifts}) < 2:
        raise InvalidTimetable(
            "A timetable needs shifts of two regions or more; a cell that one region writes all "
            "day is active_passive."
        )
    planned = sorted(_planned(timetable, today), key=lambda shift: shift[0])
    for (begins, ends, shift), (following, _, other) in pairwise(planned):
        if begins == following and shift.region != other.region:
            raise InvalidTimetable(
                f"{shift} and {other} begin at the same moment, {_text(begins)}."
            )
        if ends is not None and ends > following:
            raise InvalidTimetable(
                f"Hours overlap: {shift} goes on until {_text(ends)}, but {other} begins at "
                f"{_text(following)}. {_HINT}"
            )
        if ends is not None and ends < following:
            raise InvalidTimetable(
                f"Nobody would write from {_text(ends)}, when {shift} ends, until "
                f"{_text(following)}, when {other} begins. {_HINT}"
            )


_HINT = "Leave the end out: a shift then lasts until the next one begins, on every day of the year."


def _planned(
    timetable: Timetable, today: date
) -> Iterator[tuple[datetime, datetime | None, Shift]]:
    """All shifts of the years ahead, holidays or not."""
    for shift in timetable.shifts:
        for number in range(366 * YEARS_AHEAD):
            day = today + timedelta(days=number)
            begins = shift.begins_on(day)
            if begins is not None:
                yield begins, shift.ends_of(day), shift


def _worked(shift: Shift, now: datetime, step: int) -> Iterator[datetime]:
    """When the shift begins, from about now on: backwards if `step` is -1."""
    here = now.astimezone(ZoneInfo(shift.zone)).date()
    for number in range(-1, LONGEST_DAYS):
        day = here + timedelta(days=step * number)
        begins = shift.begins_on(day)
        if begins is not None and day not in shift.holidays:
            yield begins


def _moment(day: date, at: time, zone: str) -> datetime:
    return datetime.combine(day, at, ZoneInfo(zone)).astimezone(UTC)


def _parse_shift(part: str) -> Shift:
    found = _SHIFT.fullmatch(part)
    if found is None:
        raise InvalidTimetable(
            f"{part!r} is no shift. Write {GRAMMAR}, with commas between shifts."
        )
    try:
        ZoneInfo(found["zone"])
        holidays = frozenset(map(date.fromisoformat, (found["holidays"] or "").split()))
        ends = time.fromisoformat(found["ends"]) if found["ends"] else None
        return Shift(
            region=found["region"],
            begins=time.fromisoformat(found["begins"]),
            zone=found["zone"],
            ends=ends,
            days=_parse_days(found["days"]) if found["days"] else EVERY_DAY,
            holidays=holidays,
        )
    except (ValueError, KeyError, OSError) as error:
        raise InvalidTimetable(f"{part!r}: {error}") from error


def _parse_days(text: str) -> frozenset[int]:
    """`mon-fri`, `sat`, or round the end of the week: `sat-mon`."""
    first, _, last = text.partition("-")
    begin, end = DAYS.index(first), DAYS.index(last or first)
    return frozenset((begin + number) % 7 for number in range((end - begin) % 7 + 1))


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
