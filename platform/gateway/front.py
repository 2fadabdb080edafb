"""Outermost: measures each request, answers health checks, says which region answered.

Works under WSGI and ASGI alike, without a change of thread in either.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from gateway.health import health
from gateway.metrics import count
from tenants.maps import region_label

HEALTH = "/healthz/"
Response = HttpResponseBase


@sync_and_async_middleware
def front_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Every response, refusals included, is counted and carries `X-Region`."""
    if iscoroutinefunction(get_response):
        return _asynchronous(get_response)
    return _synchronous(get_response)


def _synchronous(get_response: Callable[[HttpRequest], Response]) -> Callable[..., Response]:
    def middleware(request: HttpRequest) -> Response:
        started = time.perf_counter()
        response = health(request) if request.path_info.startswith(HEALTH) else None
        return _finished(request, response or get_response(request), started)

    return middleware


def _asynchronous(
    get_response: Callable[[HttpRequest], Awaitable[Response]],
) -> Callable[..., Awaitable[Response]]:
    async def middleware(request: HttpRequest) -> Response:
        started = time.perf_counter()
        response = None
        if request.path_info.startswith(HEALTH):
            # A check may wait for PostgreSQL: not on the event loop, nor behind a request.
            response = await sync_to_async(health, thread_sensitive=False)(request)
        return _finished(request, response or await get_response(request), started)

    return middleware


def _finished(request: HttpRequest, response: Response, started: float) -> Response:
    response.headers["X-Region"] = region_label()
    count(request, response.status_code, time.perf_counter() - started)
    return response
