"""Eager tasks (in tests, with `apply`) work for the tenant in scope, and leave nothing behind."""

from __future__ import annotations

import pytest

from config.celery import app
from tenants import tasks
from tenants.context import current_tenant_or_none, tenant_scope
from tenants.errors import NoTenantError
from tests.tenants import jobs


@pytest.fixture
def eager(control):
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


def test_an_eager_task_works_for_the_tenant_in_scope(eager, pair):
    for tenant in pair:
        with tenant_scope(tenant):
            assert jobs.note.delay(f"eager {tenant.slug}").get() == tenant.slug
            assert jobs.whose.s().apply_async(link=jobs.note.si("eager link")).get() == tenant.slug


def test_an_eager_task_needs_a_tenant_too(eager):
    with pytest.raises(NoTenantError):
        jobs.note.delay("x")


def test_a_failing_task_leaves_no_tenant_behind(eager, pair):
    with tenant_scope(pair[0]):
        failed = jobs.fail.delay()
    with pytest.raises(ZeroDivisionError):
        failed.get()
    assert current_tenant_or_none() is None


def test_a_task_that_is_called_works_for_the_tenant_in_scope(pair):
    with tenant_scope(pair[1]):
        assert jobs.whose() == pair[1].slug


def test_tasks_of_the_control_plane_need_no_tenant(eager):
    """They are declared: tenants.tasks.*"""
    assert tasks.resume_operations.delay().get() == 0
