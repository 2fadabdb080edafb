"""Views in every colour that Django has; each tells whose names it found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from desk.models import Tag
from tenants.context import current_tenant, current_tenant_or_none
from tenants.errors import NoTenantError
from tests.tenants.web import counted


def names() -> list[str]:
    return sorted(set(Tag.objects.values_list("name", flat=True)))


async def anames() -> list[str]:
    return sorted({tag.name async for tag in Tag.objects.all()})


def answer(found: list[str]) -> JsonResponse:
    return JsonResponse({"tenant": current_tenant().slug, "names": found})


def synchronous(request: HttpRequest) -> JsonResponse:
    return answer(names())


async def asynchronous(request: HttpRequest) -> JsonResponse:
    found = await anames()
    await asyncio.sleep(0.01)
    return answer(sorted({*found, *await anames()}))


async def bridged(request: HttpRequest) -> JsonResponse:
    return answer(await sync_to_async(names)())


async def spawned(request: HttpRequest) -> JsonResponse:
    tasks = [asyncio.create_task(anames()) for _ in range(3)]
    await asyncio.sleep(0)
    return answer(sorted({name for task in tasks for name in await task}))


def threads(request: HttpRequest) -> JsonResponse:
    """A thread of one's own knows no tenant, unless it is given the context."""

    def bare() -> str:
        try:
            names()
        except NoTenantError:
            return "refused"
        finally:
            connection.close()
        return "found something"

    def given() -> list[str]:
        found = names()
        connection.close()
        return found

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(bare).result() == "refused"
        return answer(pool.submit(copy_context().run, given).result())


def streamed(request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[str]:
        for _ in range(3):
            yield " ".join([current_tenant().slug, *names()]) + "\n"

    return StreamingHttpResponse(parts())


async def streamed_async(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        for _ in range(3):
            yield " ".join([current_tenant().slug, *await anames()]) + "\n"
            await asyncio.sleep(0.005)

    return StreamingHttpResponse(parts())


def failing(request: HttpRequest) -> JsonResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 / (SELECT count(*) FROM desk_tag WHERE false)")
    return answer([])


@csrf_exempt
async def writing(request: HttpRequest) -> JsonResponse:
    """Writes, then takes its time: `?seconds=`, in Python or `&sql` in the database."""
    await Tag.objects.acreate(name=request.GET["name"])
    seconds = float(request.GET["seconds"])
    if "sql" in request.GET:
        await sync_to_async(sleep_in_sql)(seconds)
    else:
        await asyncio.sleep(seconds)
    return answer(await anames())


def sleep_in_sql(seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [seconds])


def whose(request: HttpRequest) -> JsonResponse:
    tenant = current_tenant_or_none()
    return JsonResponse({"tenant": tenant and tenant.slug})


urlpatterns = [
    path("sync", synchronous),
    path("async", asynchronous),
    path("bridged", bridged),
    path("spawned", spawned),
    path("threads", threads),
    path("streamed", streamed),
    path("streamed-async", streamed_async),
    path("failing", failing),
    path("writing", writing),
    path("whose", whose),
    *counted.urlpatterns,
]
