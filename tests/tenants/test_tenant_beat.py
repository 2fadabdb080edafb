"""Periodic tasks for each tenant: once a period, spread, in one region, paused when they must."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from celery.schedules import crontab
from hypothesis import given, settings
from hypothesis import strategies as st

from desk.models import Tag
from regions.topology import CellSpec, Lease, TenancyMode, WritePolicy
from tenants.celery.beat import GRACE_SECONDS, Missed, beats_in, latest, look, parse_jobs
from tenants.context import tenant_scope
from tenants.errors import InvalidRequest
from tenants.models import Tenant
from testkit.control import forget_maps, publish_maps
from tests.tenants.worker_settings import MERIDIAN_TENANT_BEAT
from tests.tenants.workers import until, worker

(HOURLY,) = parse_jobs({"hourly": {"task": "t", "schedule": timedelta(hours=1)}})
(NIGHTLY,) = parse_jobs({"nightly": {"task": "t", "schedule": crontab(hour="3", minute="0")}})
START = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
HOUR, DAY = 3600.0, 86_400.0
tenant_ids = st.builds(lambda number: UUID(int=number), st.integers(0, 2**128 - 1))


def runs(job, tenant, moments, seen=START):
    """The times of `moments` at which a beat that looks then starts the job."""
    found = []
    for now in moments:
        result = look(job, tenant, seen=seen, now=now)
        seen = result.moment if result.moment is not None else seen
        if result.run:
            found.append(now)
    return found


@given(tenant_ids, st.lists(st.floats(0.5, 30), min_size=200, max_size=800))
def test_however_often_it_is_looked_at_a_period_runs_once(tenant, pauses):
    now, moments = START, []
    for pause in pauses:
        now += pause
        moments.append(now)
    assert len(runs(HOURLY, tenant, moments)) in {(now - START) // HOUR, (now - START) // HOUR + 1}


def test_tenants_are_spread_over_the_whole_interval():
    offsets = sorted(HOURLY.offset(uuid4()) for _ in range(2000))
    for part in range(10):
        share = sum(part * 360 <= offset < (part + 1) * 360 for offset in offsets)
        assert 130 <= share <= 270


@given(tenant_ids)
def test_a_tenants_moment_is_the_same_for_ever(tenant):
    first = latest(HOURLY, tenant, after=START, now=START + HOUR)
    much_later = latest(HOURLY, tenant, after=START, now=START + 1000 * HOUR)
    assert first is not None
    assert much_later is not None
    assert (much_later - first) % HOUR == pytest.approx(0, abs=0.01)


@settings(deadline=None, max_examples=30)
@given(tenant_ids, st.integers(1, 2))
def test_a_crontab_runs_once_a_day_within_its_spread(tenant, days):
    every_minute = [START + 60.0 * minute for minute in range(1, days * 1440)]
    found = runs(NIGHTLY, tenant, every_minute)
    assert len(found) == days
    for moment in found:
        assert 3 * HOUR <= moment % DAY <= 3 * HOUR + NIGHTLY.spread + 60


def test_a_crontab_looks_at_weekdays_and_months():
    (job,) = parse_jobs(
        {
            "j": {
                "task": "t",
                "schedule": crontab(minute="30", hour="8", day_of_week="mon", month_of_year="5"),
                "spread": 0,
            }
        }
    )
    moment = latest(job, uuid4(), after=START, now=START + 300 * DAY)
    assert moment == datetime(2026, 5, 25, 8, 30, tzinfo=UTC).timestamp()


def test_what_was_missed_is_skipped_or_run_once_as_declared():
    tenant, back = uuid4(), START + 10 * HOUR + HOURLY.offset(uuid4())
    once = replace(HOURLY, missed=Missed.RUN_ONCE)
    moment = latest(HOURLY, tenant, after=START, now=back)
    assert moment is not None
    late = moment + GRACE_SECONDS + 1
    assert runs(HOURLY, tenant, [late, late + 1]) == []
    assert runs(once, tenant, [late, late + 1]) == [late]
    assert runs(HOURLY, tenant, [moment + 1]) == [moment + 1]


def test_a_new_tenant_waits_for_its_next_moment():
    found = look(HOURLY, uuid4(), seen=None, now=START)
    assert (found.moment, found.run) == (START, False)


@pytest.mark.parametrize(
    ("policy", "writer", "expected"),
    [
        (WritePolicy.ACTIVE_PASSIVE, "b", "b"),
        (WritePolicy.ACTIVE_PASSIVE, None, None),
        (WritePolicy.ACTIVE_PASSIVE, "elsewhere", None),
        (WritePolicy.ACTIVE_ACTIVE, None, "a"),
    ],
)
def test_one_region_starts_a_cells_jobs(policy, writer, expected):
    cell = CellSpec("c", TenancyMode.SHARED, policy, ("a", "b"))
    assert beats_in(cell, Lease(writer, 1) if writer else None) == expected


@pytest.mark.parametrize(
    "entry", [{}, {"task": "t"}, {"task": "t", "schedule": 0}, {"task": "t", "schedule": "soon"}]
)
def test_an_entry_that_makes_no_sense_is_named(entry):
    with pytest.raises(InvalidRequest, match="digest"):
        parse_jobs({"digest": entry})


def test_with_a_beat_in_each_region_each_active_tenant_runs_once_a_period(
    tenants, valkeys, deployment, tmp_path
):
    active, suspended = tenants["schema"]
    Tenant.objects.filter(slug=suspended.slug).update(state="suspended")
    publish_maps(deployment)

    def pulses(tenant) -> list[tuple[str, str]]:
        with tenant_scope(tenant):
            names = Tag.objects.filter(name__startswith="pulse").values_list("name", flat=True)
            return [(name.split()[1], name.split()[2]) for name in names]

    with tenant_scope(active):
        Tag.objects.filter(name__startswith="pulse").delete()
    began = time.time()
    options = ["-B", "--pool", "threads", "--concurrency", "2", "--schedule"]
    try:
        with (
            worker("eu-west", tmp_path, *options, str(tmp_path / "west")),
            worker("eu-central", tmp_path, *options, str(tmp_path / "central")),
        ):
            log = tmp_path / "worker-eu-west.log"
            until(lambda: len(pulses(active)) >= 3, said=log.read_text)
            found = pulses(active)
            assert pulses(suspended) == []
    finally:
        Tenant.objects.filter(slug=suspended.slug).update(state="active")
        forget_maps(deployment)
    assert {region for region, _ in found} == {"eu-west"}
    # A busy machine may be late for one; none is started twice, or at a moment of its own.
    moments = [moment for _, moment in found]
    assert len(moments) == len(set(moments))
    (job,) = parse_jobs(MERIDIAN_TENANT_BEAT)
    periods = range(int(time.time() - began) // int(job.schedule) + 2)
    due = [latest(job, active.id, after=0, now=began + each * job.schedule) for each in periods]
    assert set(moments) <= {job.task_id(active.id, moment)[:12] for moment in due}
