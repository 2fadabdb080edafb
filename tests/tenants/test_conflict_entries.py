"""What a ledger's entry says of itself."""

from __future__ import annotations

from datetime import UTC, datetime

from tenants.conflicts.entries import stamp_at, time_of


def test_stamps_are_times() -> None:
    moment = datetime(2026, 11, 30, 8, 0, 0, 123456, tzinfo=UTC)
    assert time_of(stamp_at(moment)) == moment
    assert time_of(stamp_at(moment) | 3) == moment
