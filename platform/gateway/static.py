"""Static files, from memory of where they are, under WSGI and ASGI alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.utils.decorators import sync_and_async_middleware
from whitenoise.middleware import WhiteNoiseMiddleware


@cache
def _noise() -> WhiteNoiseMiddleware:
    """Files are looked for once a process, however many handlers it has."""
    return WhiteNoiseMiddleware()


@sync_and_async_middleware
def static_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """WhiteNoise, without a change of thread for what is no static file."""
    noise = _noise()
    files = noise.files

    if iscoroutinefunction(get_response):

        async def middleware(request: HttpRequest) -> Any:
            found = files.get(request.path_info)
            return noise.serve(found, request) if found else await get_response(request)

        return middleware

    def synchronous(request: HttpRequest) -> Any:
        found = files.get(request.path_info)
        return noise.serve(found, request) if found else get_response(request)

    return synchronous
