"""Websockets of tenants' hosts, around any ASGI application for them (consumers of channels, say).

Guarantees that a connection works in its tenant's scope for as long as it lives; that one for an
unknown host, an inactive tenant, another region's cell or a page of another host is refused before
it is accepted; and that it is closed, within CHECK_SECONDS, once the tenant is suspended, moves or
leaves the host, or, to be tried again, when a message finds all of the tenant's connections in use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http.request import split_domain_port

from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.limits.connections import TooManyConnections
from tenants.maps import here, region_map

CHECK_SECONDS = 0.25
# RFC 6455 and IANA's registry. Come back: elsewhere, or in a moment.
POLICY_VIOLATION, COME_BACK, TRY_AGAIN_LATER = 1008, 1012, 1013

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class TenantWebsockets:
    """`scope["tenant"]` is the TenantRecord for the application below."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        host = _plain(_header(scope, b"host"))
        tenant = region_map().tenant_of(host)
        reason = _of_another_page(scope, host) or why_not(tenant, host)
        if reason is not None or tenant is None:
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        with tenant_scope(tenant):
            connection = _Connection(receive, send)
            work = asyncio.ensure_future(
                self._application({**scope, "tenant": tenant}, connection.receive, connection.send)
            )
            watch = asyncio.create_task(_until_refused(tenant, host))
            try:
                await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    try:
                        work.result()
                    except TooManyConnections:
                        await connection.close(TRY_AGAIN_LATER)
                    return
            finally:
                watch.cancel()
                await _cancelled(work)
            await connection.close(COME_BACK if _is_elsewhere(tenant) else POLICY_VIOLATION)


async def _cancelled(work: asyncio.Future[None]) -> None:
    if not work.done():
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


class _Connection:
    """What the application below holds: nothing leaves after the end."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._over = False

    async def receive(self) -> Message:
        # Between two messages it keeps no connection to the database from others.
        await _give_back()
        return await self._receive()

    async def send(self, message: Message) -> None:
        if not self._over:
            self._over = message["type"] == "websocket.close"
            await self._send(message)

    async def close(self, code: int) -> None:
        with suppress(OSError, RuntimeError):
            await self.send({"type": "websocket.close", "code": code})


def why_not(tenant: TenantRecord | None, host: str) -> str | None:
    """Why the tenant is not served at this host in this region; None when it is."""
    if tenant is None or host not in tenant.hosts:
        return "unknown host"
    if tenant.state != "active":
        return tenant.state
    cell = region_map().topology().cells.get(tenant.cell)
    if cell is None or here() not in cell.regions:
        return "not served here"
    return None


async def _until_refused(accepted: TenantRecord, host: str) -> str:
    """The reason, once the connection must end."""
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        known = region_map().directory().by_id.get(accepted.id)
        if reason := why_not(known, host):
            return reason
        if known is not None and known.cell != accepted.cell:
            return "moved"


def _is_elsewhere(accepted: TenantRecord) -> bool:
    """Whether it goes on in another place: a move, not a suspension."""
    known = region_map().directory().by_id.get(accepted.id)
    return known is not None and (known.state == "moving" or known.cell != accepted.cell)


def _of_another_page(scope: Message, host: str) -> str | None:
    """A browser sends its cookies with a websocket whatever page opens it; and names the page."""
    origin = _header(scope, b"origin")
    if origin and _plain(urlsplit(origin).netloc) != host:
        return "opened by another host's page"
    return None


def _header(scope: Message, name: bytes) -> str:
    for key, value in scope["headers"]:
        if key.lower() == name:
            return str(value.decode("latin-1"))
    return ""


def _plain(host: str) -> str:
    return split_domain_port(host)[0].rstrip(".")


_give_back = sync_to_async(close_old_connections)
