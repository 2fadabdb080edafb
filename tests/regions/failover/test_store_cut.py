"""The way of agents to etcd is the fleet's to take away: then no lease is renewed or seen, and etcd
itself has lost nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from infra.fleet.plan import deployment_document, make_plan
from infra.wan.__main__ import routes
from infra.wan.conditions import AGENTS, Condition, LinkState
from infra.wan.proxy import Wan
from regions.deployment import LeaseStore
from regions.failover.etcd import Etcd
from regions.failover.etcd_acceptor import EtcdAcceptor
from regions.failover.lease import Leases
from testkit.ports import free_port_base
from tests.etcd import Cluster
from tests.regions.failover.stores import LaterThanFirst

TTL = 600.0
CELL = "cut"


def proposer(etcd: Etcd, name: str, node: int) -> Leases:
    acceptor = EtcdAcceptor(etcd, name, TTL, clock=LaterThanFirst(TTL))
    return Leases(name, node, {"etcd": acceptor}, TTL)


async def answered(leases: Leases) -> int:
    return (await leases.observe([CELL]))[CELL].answered


def test_no_member_answers_while_the_way_is_cut_and_all_goes_on_when_it_is_back(
    etcd: Cluster, tmp_path: Path
) -> None:
    plan = make_plan(tmp_path, port_base=free_port_base(), etcd=etcd.urls)
    document = deployment_document(plan)
    (tmp_path / "deployment.json").write_text(json.dumps(document))
    near = document["lease_store"]["etcd"]
    cut = {(AGENTS, link.name): Condition(LinkState.CUT) for link in plan.store_links}
    assert len(cut) == len(near) == len(etcd.urls)

    async def story(wan: Wan, way: Etcd, directly: Etcd) -> None:
        await wan.apply({})
        a, b = proposer(way, "a", 1), proposer(directly, "b", 2)
        assert [await answered(a), await answered(b)] == [1, 1]
        held = await a.acquire([CELL])
        assert set(held) == {CELL}
        await wan.apply(cut)
        assert await a.renew(held.values()) == {}
        assert [await answered(a), await answered(b)] == [0, 1]
        assert (await b.observe([CELL]))[CELL].holder == "a"
        await wan.apply({})
        assert set(await a.renew(held.values())) == {CELL}

    async def run() -> None:
        wan = Wan(tuple(route for route in routes(tmp_path) if route.link[0] == AGENTS))
        stores = [Etcd(LeaseStore(tuple(urls)), timeout=120.0) for urls in (near, etcd.urls)]
        try:
            await story(wan, *stores)
        finally:
            wan.close()
            for store in stores:
                await store.close()

    asyncio.run(run())
