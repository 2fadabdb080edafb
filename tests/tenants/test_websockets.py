"""Websockets of tenants' hosts on a real server: whose they are, and when they end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from django.db import connections
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from desk.models import Tag
from regions import cells
from regions.deployment import Deployment
from regions.topology import database_name
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.lifecycle import resume, suspend
from tenants.models import Tenant
from testkit.control import forget_maps, publish_maps
from tests.tenants.conftest import HOME
from tests.tenants.web.servers import pooled, web
from tests.tenants.workers import until

PATIENCE = 240


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
        f"ws://{host}:{port}/",
        host="127.0.0.1",
        port=port,
        proxy=None,
        open_timeout=PATIENCE,
        ping_interval=None,
        **options,
    )


async def said(socket: ClientConnection, text: str) -> str:
    await socket.send(text)
    return str(await asyncio.wait_for(socket.recv(), PATIENCE))


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
                await asyncio.wait_for(socket.recv(), PATIENCE)
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


def test_one_counts_for_its_tenants_connections_while_it_handles_a_message(
    port: int, tenants, deployment: Deployment
) -> None:
    tenant, other = tenants["shared"]

    async def work() -> None:
        host = tenant.hosts[0]
        async with opened(port, host) as one, opened(port, host) as two:
            for socket in (one, two, one, two):
                assert tenant.slug in await said(socket, "in turn")
                await asyncio.to_thread(all_given_back, port)
            with nobody_writes(deployment, tenant):
                request = asyncio.create_task(writing(port, host))
                await asyncio.to_thread(waits, deployment, tenant)
                with pytest.raises(ConnectionClosed) as closed:
                    await said(two, "at once")
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1013
                async with opened(port, other.hosts[0]) as theirs:
                    assert other.slug in await said(theirs, "not theirs")
            assert await request == 200
            await asyncio.to_thread(all_given_back, port)
            assert tenant.slug in await said(one, "afterwards")

    try:
        limit(tenant, deployment, connections=1)
        asyncio.run(work())
    finally:
        limit(tenant, deployment)


async def writing(port: int, host: str) -> int:
    """A request that keeps a connection to the database until it may write: its status in the
    end."""
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        answer = await client.post(
            f"http://127.0.0.1:{port}/writing?name=slow&seconds=0", headers={"Host": host}
        )
    return answer.status_code


@contextmanager
def nobody_writes(deployment: Deployment, tenant: TenantRecord) -> Iterator[None]:
    """Who wants to write a tag waits until the block ends."""
    database = database_name(tenant.cell)
    with cells.administrator(deployment, HOME, database) as admin, admin.transaction():
        admin.execute("LOCK TABLE public.desk_tag IN SHARE ROW EXCLUSIVE MODE")
        yield


def all_given_back(port: int) -> None:
    """Returns when no connection of the server's is in use: an answer comes a moment before."""
    until(lambda: pooled(port, "in_use") == 0)


def limit(tenant: TenantRecord, deployment: Deployment, **limits: int) -> None:
    Tenant.objects.filter(slug=tenant.slug).update(limits=limits)
    publish_maps(deployment)
    connections.close_all()


def waits(deployment: Deployment, tenant: TenantRecord) -> None:
    """Returns when one of the tenant's statements waits for a lock."""
    with cells.administrator(deployment, HOME) as admin:
        until(
            lambda: admin.execute(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s",
                [f"%{tenant.id}%"],
            ).fetchone()
        )
