"""An idempotency key is its tenant's own, in each of the three modes."""

from __future__ import annotations

import json

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.test import RequestFactory

from gateway.idempotency.models import Answer
from gateway.idempotency.once import REPLAYED, once, once_async
from tenants.context import current_tenant, tenant_scope
from tenants.directory import TenantRecord

HELLO = json.dumps({"title": "Hello"})


def keyed() -> HttpRequest:
    return RequestFactory().post(
        "/orders", HELLO, content_type="application/json", headers={"idempotency-key": "k-1"}
    )


@pytest.fixture(autouse=True)
def fresh(pair: tuple[TenantRecord, TenantRecord]) -> None:
    for tenant in pair:
        with tenant_scope(tenant):
            Answer.objects.all().delete()


def test_two_tenants_may_have_the_same_key_and_get_their_own_answers(
    pair: tuple[TenantRecord, TenantRecord],
) -> None:
    served: list[str] = []

    def view(request: HttpRequest) -> HttpResponseBase:
        served.append(current_tenant().slug)
        return HttpResponse(f"for {current_tenant().slug}")

    for tenant in (*pair, *pair):
        with tenant_scope(tenant), transaction.atomic():
            answer = once(keyed(), view)
        assert answer.content == f"for {tenant.slug}".encode()
    assert served == [tenant.slug for tenant in pair]


def test_an_event_loop_carries_it_out_once_as_well(
    pair: tuple[TenantRecord, TenantRecord],
) -> None:
    served: list[str] = []

    async def view(request: HttpRequest) -> HttpResponseBase:
        served.append(current_tenant().slug)
        return HttpResponse("done", status=201)

    @async_to_sync
    async def twice() -> list[HttpResponseBase]:
        return [await once_async(keyed(), view) for _ in range(2)]

    with tenant_scope(pair[0]):
        first, again = twice()
    assert served == [pair[0].slug]
    assert (first.status_code, again.status_code) == (201, 201)
    assert (first.get(REPLAYED), again.get(REPLAYED)) == (None, "true")
