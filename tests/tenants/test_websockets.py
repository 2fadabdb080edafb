"""Websockets of tenants' hosts on a real server: whose they are, and when they end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from desk.models import Tag
from regions.deployment import Deployment
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.lifecycle import resume, suspend
from testkit.control import forget_maps, publish_maps
from tests.tenants.conftest import HOME
from tests.tenants.web.servers import web


@pytest.fixture(scope="module")
def port(
    deployment: Deployment, tenants, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    for tenant in itertools.chain(*tenants.values()):
        with tenant_scope(tenant):
            Tag.objects.get_or_create(name=f"of-{tenant.slug}")
    publish_maps(deployment)
    with web(HOME, tmp_path_factory.mktemp("web") / "web.log", "asgi") as listening:
        yield listening
    forget_maps(deployment)


def opened(port: int, host: str, **options: Any) -> Any:
    """A connection whose Host header is the tenant's."""
    return connect(
        f"ws://{host}:{port}/", host="127.0.0.1", port=port, proxy=None, open_timeout=20, **options
    )


async def said(socket: ClientConnection, text: str) -> str:
    await socket.send(text)
    return str(await asyncio.wait_for(socket.recv(), 20))


def test_a_connection_stays_with_its_tenant(port: int, tenants) -> None:
    everyone: list[TenantRecord] = list(itertools.chain(*tenants.values()))

    async def talk(tenant: TenantRecord) -> None:
        async with opened(port, tenant.hosts[0]) as socket:
            for turn in range(5):
                heard = (await said(socket, str(turn))).split()
                assert heard[:2] == [f"{turn}:", tenant.slug]
                theirs = {name for name in heard[2:] if name.startswith("of-")}
                assert theirs == {f"of-{tenant.slug}"}

    async def work() -> None:
        await asyncio.gather(*(talk(tenant) for tenant in everyone * 3))

    asyncio.run(work())


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("nobody.localhost", None),
        ("acme-shared.localhost", "http://globex-shared.localhost"),
        ("acme-shared.localhost", "null"),
    ],
)
def test_what_has_no_business_here_is_refused_before_it_is_accepted(
    port: int, host: str, origin: str | None
) -> None:
    async def work() -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with opened(port, host, origin=origin):
                pass
        assert refused.value.response.status_code == 403

    asyncio.run(work())


def test_a_page_of_the_tenants_own_host_is_welcome(port: int, tenants) -> None:
    tenant = tenants["shared"][0]

    async def work() -> None:
        origin = f"http://{tenant.hosts[0]}:{port}"
        async with opened(port, tenant.hosts[0], origin=origin) as socket:
            assert tenant.slug in await said(socket, "hello")

    asyncio.run(work())


def test_it_is_closed_when_the_tenant_is_suspended(
    port: int, tenants, deployment: Deployment
) -> None:
    tenant, other = tenants["schema"]

    async def work() -> None:
        async with opened(port, tenant.hosts[0]) as socket, opened(port, other.hosts[0]) as third:
            assert tenant.slug in await said(socket, "hello")
            await asyncio.to_thread(_suspend)
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(socket.recv(), 5)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
            assert other.slug in await said(third, "still here")
            with pytest.raises(InvalidStatus):
                async with opened(port, tenant.hosts[0]):
                    pass

    def _suspend() -> None:
        suspend(tenant.slug, actor="test")
        publish_maps(deployment)
        connections.close_all()

    try:
        asyncio.run(work())
    finally:
        resume(tenant.slug, actor="test")
        publish_maps(deployment)
