"""Responses that are made while they are sent: after the middleware has returned.

Guarantees that each part of a tenant's stream is made in the tenant's scope, and that the scope
ends with the part: the thread or task that sends it may work for others in between.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.http import FileResponse, HttpResponseBase

from tenants.context import tenant_scope
from tenants.directory import TenantRecord


def in_scope(tenant: TenantRecord, response: HttpResponseBase) -> HttpResponseBase:
    """The response, its stream bound to the tenant. A file's is bytes that are there already."""
    if response.streaming and not isinstance(response, FileResponse):
        content: Any = response.streaming_content  # type: ignore[attr-defined]
        bind = _async_parts if response.is_async else _parts  # type: ignore[attr-defined]
        response.streaming_content = bind(tenant, content)  # type: ignore[attr-defined]
    return response


def _parts(tenant: TenantRecord, content: Any) -> Iterator[Any]:
    parts = iter(content)
    while True:
        with tenant_scope(tenant):
            try:
                part = next(parts)
            except StopIteration:
                return
        yield part


async def _async_parts(tenant: TenantRecord, content: Any) -> AsyncIterator[Any]:
    parts = aiter(content)
    while True:
        with tenant_scope(tenant):
            try:
                part = await anext(parts)
            except StopAsyncIteration:
                return
        yield part
