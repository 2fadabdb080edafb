"""Many requests of many tenants at once in one process, under WSGI and ASGI: none sees another's.

Real servers, real cells in all three modes, fewer connections than requests.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from desk.models import Tag
from regions import cells
from regions.deployment import Deployment
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from testkit.control import forget_maps, publish_maps
from tests.tenants.conftest import HOME
from tests.tenants.web.servers import pooled, web
from tests.tenants.workers import until

PATIENCE = 240
BOTH = ("sync", "async", "bridged", "spawned", "threads")
STREAMS = ("streamed", "streamed-async")


@dataclass(frozen=True)
class Site:
    """A server, and the tenants that it serves."""

    interface: str
    port: int
    tenants: tuple[TenantRecord, ...]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url,
            trust_env=False,
            timeout=PATIENCE,
            limits=httpx.Limits(max_connections=24, max_keepalive_connections=24),
        )


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def site(
    request: pytest.FixtureRequest,
    deployment: Deployment,
    tenants: dict[str, tuple[TenantRecord, TenantRecord]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    everyone = tuple(itertools.chain(*tenants.values()))
    for tenant in everyone:
        with tenant_scope(tenant):
            Tag.objects.filter(tickets=None).delete()
            Tag.objects.get_or_create(name=f"of-{tenant.slug}")
    publish_maps(deployment)
    log = tmp_path_factory.mktemp("web") / "web.log"
    with web(HOME, log, request.param) as port:
        yield Site(request.param, port, everyone)
    forget_maps(deployment)


def foreign(tenant: TenantRecord, found: list[str]) -> list[str]:
    """Names that are another tenant's."""
    return [name for name in found if name.startswith("of-") and name != f"of-{tenant.slug}"]


async def ask(client: httpx.AsyncClient, tenant: TenantRecord, path: str) -> httpx.Response:
    return await client.get(f"/{path}", headers={"Host": tenant.hosts[0]})


def test_tenants_at_once_see_only_themselves(site: Site) -> None:
    async def work() -> None:
        async with site.client() as client:
            asked = [(tenant, path) for _ in range(6) for tenant in site.tenants for path in BOTH]
            answers = await asyncio.gather(*(ask(client, *each) for each in asked))
            for (tenant, path), answer in zip(asked, answers, strict=True):
                assert answer.status_code == 200, (path, answer.text)
                assert answer.json()["tenant"] == tenant.slug, path
                assert f"of-{tenant.slug}" in answer.json()["names"], path
                assert foreign(tenant, answer.json()["names"]) == [], path

    asyncio.run(work())


def test_streams_are_made_in_their_tenants_scope_after_the_view_returned(site: Site) -> None:
    async def work() -> None:
        async with site.client() as client:
            paths = STREAMS if site.interface == "asgi" else STREAMS[:1]
            asked = [(tenant, path) for _ in range(5) for tenant in site.tenants for path in paths]
            answers = await asyncio.gather(*(ask(client, *each) for each in asked))
            for (tenant, path), answer in zip(asked, answers, strict=True):
                lines = answer.text.splitlines()
                assert len(lines) == 3, (path, answer.text)
                for line in lines:
                    slug, *found = line.split()
                    assert slug == tenant.slug
                    assert f"of-{tenant.slug}" in found
                    assert foreign(tenant, found) == []

    asyncio.run(work())


def test_failures_in_between_leave_nothing_behind(site: Site) -> None:
    async def work() -> None:
        async with site.client() as client:
            asked = [
                (tenant, path)
                for _ in range(8)
                for tenant in site.tenants
                for path in ("failing", "sync", "async")
            ]
            answers = await asyncio.gather(*(ask(client, *each) for each in asked))
            for (tenant, path), answer in zip(asked, answers, strict=True):
                if path == "failing":
                    assert answer.status_code == 422
                else:
                    assert foreign(tenant, answer.json()["names"]) == []

    asyncio.run(work())


@pytest.mark.parametrize(("where", "seconds"), [("", 60), ("&sql", 10)], ids=["python", "sql"])
def test_a_client_that_goes_away_has_changed_nothing(
    site: Site, deployment: Deployment, where: str, seconds: int
) -> None:
    """A statement is not broken off: what it takes is how long the server has to notice."""
    if site.interface == "wsgi":
        pytest.skip(
            "WSGI does not learn that a client went away: the view ends as if it were there"
        )
    tenant = site.tenants[0]
    name = f"given-up{len(where)}"

    async def work() -> None:
        async with site.client() as client:
            writing = asyncio.create_task(
                client.post(
                    f"/writing?name={name}&seconds={seconds}{where}",
                    headers={"Host": tenant.hosts[0]},
                )
            )
            await asyncio.to_thread(until, lambda: writes(deployment, tenant))
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            answers = await asyncio.gather(
                *(ask(client, each, path) for each in site.tenants for path in BOTH)
            )
            for answer in answers:
                assert answer.status_code == 200

    asyncio.run(work())
    until(lambda: not writes(deployment, tenant))
    with tenant_scope(tenant):
        assert not Tag.objects.filter(name=name).exists()


def writes(deployment: Deployment, tenant: TenantRecord) -> bool:
    """Whether a view of the tenant's takes its time, in a transaction."""
    with cells.administrator(deployment, HOME) as admin:
        found = admin.execute(
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE %s"
            " AND (state = 'idle in transaction' OR wait_event = 'PgSleep')",
            [f"%{tenant.id}%"],
        )
        return found.fetchone() is not None


def test_afterwards_no_connection_is_in_use(site: Site) -> None:
    until(lambda: pooled(site.port, "in_use") == 0)
    assert pooled(site.port, "idle") <= 8


def test_a_committed_write_is_answered(site: Site) -> None:
    tenant = site.tenants[0]
    answer = httpx.post(
        f"{site.url}/writing?name=kept-{site.interface}&seconds=0",
        headers={"Host": tenant.hosts[0]},
        timeout=PATIENCE,
        trust_env=False,
    )
    assert answer.status_code == 200
    with tenant_scope(tenant):
        assert Tag.objects.filter(name=f"kept-{site.interface}").exists()
