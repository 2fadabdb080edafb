"""A websocket application as apps write them: it knows nothing of tenants."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async

from tenants.context import current_tenant
from tests.tenants.web.urls import names


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        found = " ".join([current_tenant().slug, *await sync_to_async(names)()])
        await send({"type": "websocket.send", "text": f"{message['text']}: {found}"})
