"""Who should write by the clock: one region at each moment, also where clocks are changed."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regions.errors import InvalidTimetable
from regions.timetable import EVERY_DAY, Shift, Timetable, check, parse

EU, US, ASIA = "eu-west", "us-east", "ap-south"
REGIONS = (EU, US, ASIA)
SUN = "eu-west 08:00 Europe/Dublin, us-east 13:30 America/New_York"
TODAY = date(2026, 1, 1)


def moment(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("local", "zone", "writer"),
    [
        ("2026-01-14T07:59:59", "Europe/Dublin", US),
        ("2026-01-14T08:00:00", "Europe/Dublin", EU),
        ("2026-07-14T08:00:00", "Europe/Dublin", EU),
        ("2026-07-14T13:29:59", "America/New_York", EU),
        ("2026-07-14T13:30:00", "America/New_York", US),
        # Clocks change in the US three weeks before they do in Europe.
        ("2026-03-16T13:30:00", "America/New_York", US),
        ("2026-03-16T13:29:59", "America/New_York", EU),
    ],
)
def test_a_shift_begins_at_its_own_regions_time_of_day(local: str, zone: str, writer: str) -> None:
    assert parse(SUN).at(moment(local, zone)).region == writer


def test_a_time_that_the_clocks_skip_is_as_much_later_and_one_that_comes_twice_is_the_first() -> (
    None
):
    night = parse("eu-west 01:30 Europe/Dublin, us-east 12:00 Europe/Dublin")
    assert night.at(moment("2026-03-29T06:00")).since == moment("2026-03-29T01:30")
    assert night.at(moment("2026-10-25T06:00")).since == moment("2026-10-25T00:30")


def test_on_a_holiday_the_region_before_goes_on() -> None:
    timetable = parse(f"{SUN} except 2026-12-25")
    assert timetable.at(moment("2026-12-25T20:00")).region == EU
    assert timetable.at(moment("2026-12-26T20:00")).region == US


def test_at_the_weekend_the_region_goes_on_that_began_last() -> None:
    timetable = parse("eu-west mon-fri 08:00 UTC, us-east mon-fri 16:00 UTC")
    turn = timetable.at(moment("2026-02-08T12:00"))  # a Sunday
    assert (turn.region, turn.since) == (US, moment("2026-02-06T16:00"))
    assert (turn.then, turn.until) == (EU, moment("2026-02-09T08:00"))


def test_the_reason_names_who_writes_and_who_is_next() -> None:
    reason = parse(SUN).at(moment("2026-01-14T10:00")).reason
    assert reason == (
        "By the timetable eu-west writes since Wed 2026-01-14 08:00 UTC; "
        "us-east begins at Wed 2026-01-14 18:30 UTC."
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is no shift"),
        ("eu-west 8 Europe/Dublin", "is no shift"),
        ("eu-west 25:00 UTC, us-east 08:00 UTC", "hour"),
        ("eu-west 08:00 Europe/Atlantis, us-east 08:00 UTC", "Atlantis"),
        ("eu-west mon-foo 08:00 UTC, us-east 09:00 UTC", "foo"),
        ("eu-west 08:00 UTC, moon 12:00 UTC", "no replica in moon"),
        ("eu-west 08:00 UTC, eu-west 12:00 UTC", "two regions"),
        ("eu-west 08:00 UTC, us-east 08:00 UTC", "begin at the same moment"),
        ("eu-west 08:00-17:00 UTC, us-east 16:00-08:00 UTC", "Hours overlap.*Leave the end out"),
        (
            "eu-west 08:00-15:00 UTC, us-east 16:00-08:00 UTC",
            "Nobody would write from 2026-01-01 15",
        ),
        # Right in January; in March, when only one of them has changed its clocks, it is not.
        (
            "eu-west 08:00-18:30 Europe/Dublin, us-east 13:30-03:00 America/New_York",
            "Nobody would write from 2026-03-08 07:00 UTC, when us-east .* until 2026-03-08 08:00",
        ),
    ],
)
def test_hours_that_are_nobodys_or_two_regions_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(InvalidTimetable, match=complaint):
        check(parse(text), REGIONS, TODAY)


@pytest.mark.parametrize(
    "text",
    [
        SUN,
        "eu-west 08:00-16:00 UTC, us-east 16:00-00:00 UTC, ap-south 00:00-08:00 UTC",
        "eu-west 08:00-20:00 Europe/Dublin, us-east 20:00-08:00 Europe/Dublin",
        "eu-west sat-mon 08:00 Asia/Kathmandu, us-east tue 12:00 Pacific/Chatham",
    ],
)
def test_timetables_that_leave_no_hour_open_are_taken(text: str) -> None:
    check(parse(text), REGIONS, TODAY)


zones = st.sampled_from(
    ["UTC", "Europe/Dublin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata",
     "Pacific/Apia", "Africa/Casablanca"]
)  # fmt: skip
times = st.times().map(lambda at: time(at.hour, at.minute // 15 * 15))
shifts = st.builds(
    Shift,
    region=st.sampled_from(REGIONS),
    begins=times,
    zone=zones,
    ends=st.none(),
    days=st.frozensets(st.integers(0, 6), min_size=1) | st.just(EVERY_DAY),
    holidays=st.frozensets(st.dates(date(2026, 3, 1), date(2026, 4, 10)), max_size=3),
)
timetables = st.lists(shifts, min_size=2, max_size=5).map(lambda some: Timetable(tuple(some)))
moments = st.datetimes(datetime(2026, 2, 1), datetime(2027, 1, 1)).map(
    lambda at: at.replace(tzinfo=UTC)
)


@given(timetables, moments)
def test_each_moment_has_one_turn_that_holds_until_the_next_begins(
    timetable: Timetable, at: datetime
) -> None:
    turn = timetable.at(at)
    assert turn.since <= at < turn.until
    assert turn == timetable.at(turn.since)
    assert turn == timetable.at(turn.until - timedelta(microseconds=1))
    following = timetable.at(turn.until)
    assert following.since == turn.until


@given(timetables, moments)
def test_a_turn_begins_at_a_shifts_time_of_day_and_on_no_holiday(
    timetable: Timetable, at: datetime
) -> None:
    turn = timetable.at(at)
    beginning = [
        day
        for shift in timetable.shifts
        if shift.region == turn.region
        for day in [turn.since.astimezone(ZoneInfo(shift.zone)).date()]
        if shift.begins_on(day) == turn.since and day not in shift.holidays
    ]
    assert beginning


@given(timetables)
@settings(max_examples=15, deadline=None)
def test_what_is_taken_has_no_moment_at_which_two_begin(timetable: Timetable) -> None:
    try:
        check(timetable, REGIONS, date(2026, 3, 1))
    except InvalidTimetable:
        return
    at = datetime(2026, 3, 1, tzinfo=UTC)
    for _ in range(60):
        at = timetable.at(at).until
        begin = {
            shift.region
            for shift in timetable.shifts
            for days in (-1, 0, 1)
            if shift.begins_on(at.date() + timedelta(days=days)) == at
        }
        assert len(begin) <= 1
