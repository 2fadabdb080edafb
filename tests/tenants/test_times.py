"""Times come as Django's own loader brings them, though psycopg's reads them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.psycopg_any import get_adapters_template
from hypothesis import given, settings
from hypothesis import strategies as st

from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tests.tenants.shop.models import Product

Pair = tuple[TenantRecord, TenantRecord]
TIMES = st.datetimes(
    min_value=datetime(1, 1, 2),
    max_value=datetime(9999, 12, 30),
    timezones=st.sampled_from([UTC, ZoneInfo("America/St_Johns"), timezone(timedelta(hours=14))]),
)


@pytest.fixture
def inside(shared_pair: Pair) -> Iterator[BaseDatabaseWrapper]:
    with tenant_scope(shared_pair[0]):
        yield connection


def read(*times: datetime) -> list[datetime]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT unnest(%s::timestamptz[])", [list(times)])
        return [row[0] for row in cursor.fetchall()]


@settings(max_examples=50)
@given(times=st.lists(TIMES, min_size=1, max_size=20))
def test_a_time_is_what_was_sent_in_utc(tenants, times):
    with tenant_scope(tenants["shared"][0]):
        found = read(*times)
    # In UTC: Python calls no time equal that a zone's clocks leave out.
    assert [(each.tzinfo, each.replace(tzinfo=None)) for each in found] == [
        (UTC, time.astimezone(UTC).replace(tzinfo=None)) for time in times
    ]


def test_it_is_what_djangos_adapters_read(inside):
    texts = [b"2026-03-29 01:00:00+00", b"0001-01-01 00:00:00+00", b"9999-12-31 23:59:59.999999+00"]
    connection.ensure_connection()
    loaders = [
        context.get_loader(context.types["timestamptz"].oid, 0)(0, connection.connection)
        for context in (connection.connection.adapters, get_adapters_template(True, UTC))
    ]
    for text in texts:
        ours, djangos = (loader.load(text) for loader in loaders)
        assert (ours, ours.tzinfo) == (djangos, djangos.tzinfo)


def test_rows_fields_arrays_and_streams_have_utc(pair):
    listed = datetime(2026, 11, 1, 5, 30, 0, 123456, tzinfo=ZoneInfo("America/New_York"))
    with tenant_scope(pair[0]):
        product = Product.objects.create(sku="times", name="Clock", listed_at=listed)
        try:
            with transaction.atomic():
                streamed = list(Product.objects.filter(pk=product.pk).iterator())
            product.refresh_from_db()
            for found in (product, *streamed):
                assert found.listed_at == listed
                assert found.listed_at.tzinfo is UTC
            with connection.cursor() as cursor:
                cursor.execute("SELECT array[%s]::timestamptz[]", [listed])
                assert cursor.fetchone() == ([listed],)
        finally:
            product.delete()


def test_a_session_in_another_zone_shows_the_same_instant(inside):
    summer = datetime(2026, 7, 1, 12, tzinfo=UTC)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE 'America/New_York'")
        assert read(summer) == [summer]
    assert read(summer) == [summer]


def test_without_time_zones_times_are_naive(inside, settings):
    settings.USE_TZ = False
    assert read(datetime(2026, 7, 1, 12)) == [datetime(2026, 7, 1, 12)]
    settings.USE_TZ = True
    assert read(datetime(2026, 7, 1, 12, tzinfo=UTC))[0].tzinfo is UTC
