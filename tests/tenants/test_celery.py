"""Tasks of a tenant: the context travels with the message, and is never assumed."""

from __future__ import annotations

import pytest
from celery import Celery

from desk.models import Tag
from tenants.celery import TenantTask
from tenants.context import current_tenant, current_tenant_or_none, tenant_scope
from tenants.errors import NoTenantError

app = Celery("test", broker="memory://", backend="cache+memory://", set_as_current=False)
app.conf.task_always_eager = True
app.conf.task_store_eager_result = False


@app.task(base=TenantTask)
def tag(name: str) -> str:
    Tag.objects.get_or_create(name=name)
    return current_tenant().slug


@app.task(base=TenantTask)
def fail() -> None:
    raise ZeroDivisionError


def test_a_task_runs_for_the_tenant_that_sent_it(pair):
    for tenant in pair:
        with tenant_scope(tenant):
            sent = tag.delay(f"task-{tenant.slug}")
        assert sent.get() == tenant.slug
    for tenant in pair:
        with tenant_scope(tenant):
            names = set(Tag.objects.filter(name__startswith="task-").values_list("name", flat=True))
        assert names == {f"task-{tenant.slug}"}


def test_without_a_tenant_a_task_is_not_sent(control):
    with pytest.raises(NoTenantError):
        tag.delay("x")


def test_a_message_without_a_tenant_is_refused(pair):
    with tenant_scope(pair[0]):
        request = tag.apply(args=["x"], headers={})
    with pytest.raises(NoTenantError):
        request.get()


def test_a_failing_task_leaves_no_tenant_behind(pair):
    with tenant_scope(pair[0]):
        failed = fail.delay()
    with pytest.raises(ZeroDivisionError):
        failed.get()
    assert current_tenant_or_none() is None
