"""The ASGI entry: requests to Django, websockets to the application that settings name."""

from __future__ import annotations

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.utils.module_loading import import_string

from gateway.websockets import Application, Message, Receive, Send, TenantWebsockets


def entry() -> Application:
    """`MERIDIAN_WEBSOCKETS` is the dotted path of an ASGI application; None: they are refused."""
    requests = get_asgi_application()
    path: str | None = settings.MERIDIAN_WEBSOCKETS
    websockets = TenantWebsockets(import_string(path) if path else _refuse)

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "websocket":
                await websockets(scope, receive, send)
            case "lifespan":
                await _live(receive, send)
            case _:
                await requests(scope, receive, send)  # type: ignore[arg-type]

    return application


async def _refuse(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 1008})


async def _live(receive: Receive, send: Send) -> None:
    """Nothing to prepare or to end."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
